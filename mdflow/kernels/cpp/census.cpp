// The soft census distance of two gray images and its gradients. Opposite neighbours share their term, so each pair of
// pixels is looked at once, a row of pairs at a time.

#include <algorithm>
#include <cstring>

#include "lanes.h"

// The first `count` of LANES numbers, zeros behind them.
static inline Lanes load_some(const float *from, long count)
{
    if (count >= LANES) return load(from);
    Lanes values = {};
    std::memcpy(&values, from, count * sizeof(float));
    return values;
}

static inline void add_some(float *to, Lanes values, long count)
{
    if (count >= LANES) return store(to, load(to) + values);
    for (long i = 0; i < count; i++) to[i] += values[i];
}

// 1 / sqrt(values): a guess from their exponents and three of Newton's steps.
static inline Lanes inverse_root(Lanes values)
{
    typedef int Bits __attribute__((vector_size(LANES * sizeof(int))));
    Lanes root = (Lanes)(0x5f3759df - ((Bits)values >> 1));
    for (int i = 0; i < 3; i++) root *= 1.5f - 0.5f * values * root * root;
    return root;
}

// A difference of gray levels, and the inverse root by which it is softened.
struct Step {
    Lanes difference, scale;

    Step(const float *start, const float *end, long count, float softness)
        : difference(load_some(end, count) - load_some(start, count)),
          scale(inverse_root(difference * difference + softness))
    {
    }
    Lanes soft() const { return difference * scale; }
};

// Up to LANES pairs of pixels: where both ends begin, which ends are to be added to, and the step between them in each image.
struct Pairs {
    long start, end, count;
    bool at_start, at_end;
    Step step1, step2;

    Lanes difference() const { return step1.soft() - step2.soft(); }
    void add(float *map, Lanes to_start, Lanes to_end) const
    {
        if (at_start) add_some(map + start, to_start, count);
        if (at_end) add_some(map + end, to_end, count);
    }
};

struct Census {
    const float *gray1, *gray2;
    long height, width, radius;
    float softness;

    // The pairs of rows `first` to `last` of all images, and of those above that reach into them.
    template <typename Found> void visit(long first, long last, Found found) const
    {
        for (long row = std::max(0l, first - radius); row < last; row++)
            for (long dy = 0; dy <= radius && row % height + dy < height; dy++)
                for (long dx = dy ? -radius : 1; dx <= radius && row + dy >= first; dx++)
                    for (long x = std::max(0l, -dx); x < width - std::max(0l, dx); x += LANES) {
                        const long start = row * width + x, end = (row + dy) * width + x + dx;
                        const long count = width - std::max(0l, dx) - x;
                        found(Pairs{start, end, count, row >= first, row + dy < last,
                                    Step(gray1 + start, gray1 + end, count, softness),
                                    Step(gray2 + start, gray2 + end, count, softness)});
                    }
    }
};

// Each thread has rows of its own, so `work` (first, last) may write to them.
template <typename Work> static void share(long rows, int threads, Work work)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) work(rows * part / threads, rows * (part + 1) / threads);
}

// distance (batch, height, width) of images like it.
extern "C" void census_distance(const float *gray1, const float *gray2, float *distance, long batch, long height,
                                long width, long radius, float softness, float tolerance, int threads)
{
    const Census census{gray1, gray2, height, width, radius, softness};
    share(batch * height, threads, [&](long first, long last) {
        std::fill(distance + first * width, distance + last * width, 0.0f);
        census.visit(first, last, [&](const Pairs &pairs) {
            const Lanes squared = pairs.difference() * pairs.difference(), term = squared / (squared + tolerance);
            pairs.add(distance, term, term);
        });
    });
}

// The gradients of the images from that of their distance; gradient2 may be none.
extern "C" void census_gradients(const float *gray1, const float *gray2, const float *gradient, float *gradient1,
                                 float *gradient2, long batch, long height, long width, long radius, float softness,
                                 float tolerance, int threads)
{
    const Census census{gray1, gray2, height, width, radius, softness};
    share(batch * height, threads, [&](long first, long last) {
        for (float *result : {gradient1, gradient2})
            if (result) std::fill(result + first * width, result + last * width, 0.0f);
        census.visit(first, last, [&](const Pairs &pairs) {
            const Lanes difference = pairs.difference(), below = difference * difference + tolerance;
            const Lanes both =
                load_some(gradient + pairs.start, pairs.count) + load_some(gradient + pairs.end, pairs.count);
            // d(D²/(c + D²))/dD = 2cD/(c + D²)², and ds/dt = softness/(softness + t²)^1.5.
            const Lanes slope = 2 * tolerance * softness * both * difference / (below * below);
            const Lanes steep1 = slope * pairs.step1.scale * pairs.step1.scale * pairs.step1.scale;
            pairs.add(gradient1, -steep1, steep1);
            if (!gradient2) return;
            const Lanes steep2 = slope * pairs.step2.scale * pairs.step2.scale * pairs.step2.scale;
            pairs.add(gradient2, steep2, -steep2);
        });
    });
}
