// The soft census distance of two gray images and its gradients. Opposite neighbours share their term, so each pair of
// pixels is looked at once, a row of pairs at a time.

#include <algorithm>
#include <cstring>

#include "lanes.h"

struct Census {
    long height, width, radius;
    float softness, tolerance;

    // The pairs of rows `first` to `last` of all images, and of those above that reach into them: `pairs` gets the numbers
    // of both rows, which of them are to be added to, and the step across from one to the other.
    template <typename Pairs> void visit(long first, long last, Pairs pairs) const
    {
        for (long row = std::max(0l, first - radius); row < last; row++)
            for (long dy = 0; dy <= radius && row % height + dy < height; dy++)
                for (long dx = dy ? -radius : 1; dx <= radius && row + dy >= first; dx++)
                    if (std::abs(dx) < width) pairs(row, row + dy, row >= first, row + dy < last, dx);
    }
};

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
    const Census census{height, width, radius, softness, tolerance};
    share(batch * height, threads, [&](long first, long last) {
        std::fill(distance + first * width, distance + last * width, 0.0f);
        census.visit(first, last, [&](long row, long other, bool at_start, bool at_end, long dx) {
            const long start = row * width, end = other * width + dx, right = width - std::max(0l, dx);
            for (long x = std::max(0l, -dx); x < right; x += LANES) {
                const long count = right - x;
                const Step step1(gray1 + start + x, gray1 + end + x, count, softness);
                const Step step2(gray2 + start + x, gray2 + end + x, count, softness);
                const Lanes difference = step1.soft() - step2.soft(), squared = difference * difference;
                const Lanes term = squared / (squared + tolerance);
                if (at_start) add_some(distance + start + x, term, count);
                if (at_end) add_some(distance + end + x, term, count);
            }
        });
    });
}

// The gradients of the images from that of their distance; gradient2 may be none.
extern "C" void census_gradients(const float *gray1, const float *gray2, const float *gradient, float *gradient1,
                                 float *gradient2, long batch, long height, long width, long radius, float softness,
                                 float tolerance, int threads)
{
    const Census census{height, width, radius, softness, tolerance};
    share(batch * height, threads, [&](long first, long last) {
        for (float *result : {gradient1, gradient2})
            if (result) std::fill(result + first * width, result + last * width, 0.0f);
        census.visit(first, last, [&](long row, long other, bool at_start, bool at_end, long dx) {
            const long start = row * width, end = other * width + dx, right = width - std::max(0l, dx);
            for (long x = std::max(0l, -dx); x < right; x += LANES) {
                const long count = right - x;
                const Step step1(gray1 + start + x, gray1 + end + x, count, softness);
                const Step step2(gray2 + start + x, gray2 + end + x, count, softness);
                const Lanes difference = step1.soft() - step2.soft(), below = difference * difference + tolerance;
                // d(D²/(c + D²))/dD = 2cD/(c + D²)², and ds/dt = softness/(softness + t²)^1.5.
                const Lanes both = load_some(gradient + start + x, count) + load_some(gradient + end + x, count);
                const Lanes slope = 2 * tolerance * softness * both * difference / (below * below);
                const Lanes steep1 = slope * step1.scale * step1.scale * step1.scale;
                if (at_start) add_some(gradient1 + start + x, -steep1, count);
                if (at_end) add_some(gradient1 + end + x, steep1, count);
                if (!gradient2) continue;
                const Lanes steep2 = slope * step2.scale * step2.scale * step2.scale;
                if (at_start) add_some(gradient2 + start + x, steep2, count);
                if (at_end) add_some(gradient2 + end + x, -steep2, count);
            }
        });
    });
}
