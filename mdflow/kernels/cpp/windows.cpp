// Matching costs in a window around each pixel's match, for RAFT: inner products with the whole pixels of image 2
// around it, and between those bilinear values. What lies outside is zero.

#include <algorithm>
#include <vector>

#include "windows.h"

// Inner products of `count` queries with the pixels of a box, each query's LARGEST + LANES apart.
template <int count>
static inline void multiply(const Sizes &sizes, const Box &box, const float *map, const float *outside,
                            const float *const *queries, float *products)
{
    constexpr int together = LANES / count;
    const float *pixels[LARGEST + LANES];
    box.locate(sizes, map, outside, pixels);
    std::fill_n(pixels + box.count(), together, outside);
    for (long first = 0; first < box.count(); first += together) {
        Lanes sums[LANES] = {};
        for (long channel = 0; channel < sizes.channels; channel += LANES) {
            Lanes values[count];
            for (int query = 0; query < count; query++) values[query] = load(queries[query] + channel);
#pragma GCC unroll 16
            for (int i = 0; i < together; i++) {
                const Lanes pixel = load(pixels[first + i] + channel);
                for (int query = 0; query < count; query++) sums[query * together + i] += values[query] * pixel;
            }
        }
        float found[LANES];
        store(found, summed(sums));
        for (int query = 0; query < count; query++)
            std::copy_n(found + query * together, together, products + query * (LARGEST + LANES) + first);
    }
}

// The transpose of `interpolate`: the gradients of the values to those of the whole pixels.
static inline void spread(const Window &window, const float *gradients, float *block)
{
    constexpr long line = WIDEST + LANES;
    const long side = window.box.high, values = side - 1;
    const float right = window.right, left = 1 - right, below = window.below, above = 1 - below;
    float framed[(WIDEST + 1) * line];  // the gradients between zeros
    std::fill_n(framed, (side + 1) * line, 0.0f);
    for (long i = 0; i < values; i++)
        for (long j = 0; j < values; j++) framed[(i + 1) * line + j + 1] = gradients[i * values + j];
    for (long i = 0; i < side; i++)
        for (long j = 0; j < side; j += LANES) {
            const float *before = framed + i * line + j, *here = before + line;
            Lanes upper = right * load(before + 1) + left * load(here + 1), lower = right * load(before) + left * load(here);
            store(block + i * side + j, above * upper + below * lower);
        }
}

// What is asked of one level.
struct Lookup {
    Sizes sizes;
    const float *features1, *features2, *points, *outside;  // `outside`: a pixel of zeros
    float *costs;
    long radius, total;
    float step;

    // The costs of `count` neighbours, which look at nearly the same place and share what is read of it. Where they do
    // not, the one half of them after the other.
    template <int count> void find(const long *pixels) const
    {
        Window windows[count];
        const float *queries[count];
        for (int i = 0; i < count; i++) {
            windows[i] = Window(sizes, pixels[i], points, step, radius);
            queries[i] = features1 + pixels[i] * sizes.channels;
        }
        Box shared = windows[0].box;
        for (int i = 1; i < count; i++) shared = united(shared, windows[i].box);
        if constexpr (count > 1)
            if (shared.count() > 3 * windows[0].box.count() / 2) {
                find<count / 2>(pixels);
                return find<count / 2>(pixels + count / 2);
            }
        static thread_local float products[count * (LARGEST + LANES)];
        if (shared.meets(sizes)) {
            const float *map = features2 + pixels[0] / (sizes.height * sizes.width) * sizes.size2();
            multiply<count>(sizes, shared, map, outside, queries, products);
        } else {
            std::fill_n(products, count * (LARGEST + LANES), 0.0f);
        }
        for (int i = 0; i < count; i++)
            interpolate(windows[i], shared, products + i * (LARGEST + LANES), costs + pixels[i] * total);
    }
};

// Costs (pixels, channels of `total`, of which these are the first ones) of features1 (batch, height, width, channels)
// with features2 in windows of 2·radius + 1 around points (batch, 2, height, width) times `step`.
extern "C" void window_costs(const float *features1, const float *features2, const float *points, float *costs,
                             long batch, long height, long width, long height2, long width2, long channels, long radius,
                             long total, float step, int threads)
{
    const std::vector<float> nothing(channels);
    const Lookup lookup{{batch, height, width, height2, width2, channels},
                        features1, features2, points, nothing.data(), costs, radius, total, step};
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long image = 0; image < batch; image++)
        for (long y = 0; y < height; y += 2)
            for (long x = 0; x < width; x += 2) {
                const long upper = (image * height + y) * width, lower = upper + (y + 1 < height ? width : 0);
                const long right = std::min(x + 1, width - 1);
                const long pixels[4] = {upper + x, upper + right, lower + x, lower + right};
                lookup.find<4>(pixels);
            }
}

// One pixel's gradient and those of the pixels of its window, for PIECE channels.
static inline void add_gradients(const float *query, const float *map, const long *pixels, const float *block,
                                 long count, float *query_gradient, float *map_gradient)
{
    constexpr int lines = PIECE / LANES;
    Lanes queries[lines], sums[lines];
    for (int i = 0; i < lines; i++) {
        queries[i] = load(query + i * LANES);
        sums[i] = load(query_gradient + i * LANES);
    }
    for (long place = 0; place < count; place++) {
        if (pixels[place] < 0) continue;
        const float *pixel = map + pixels[place];
        float *gradient = map_gradient + pixels[place], share = block[place];
#pragma GCC unroll 4
        for (int i = 0; i < lines; i++) {
            sums[i] += share * load(pixel + i * LANES);
            store(gradient + i * LANES, load(gradient + i * LANES) + share * queries[i]);
        }
    }
    for (int i = 0; i < lines; i++) store(query_gradient + i * LANES, sums[i]);
}

// The gradients of `window_costs` by features1 and features2, both added to what is there. Threads take images, and
// where there are not enough of those, channels: none waits for another.
extern "C" void window_gradients(const float *features1, const float *features2, const float *points,
                                 const float *gradients, float *gradient1, float *gradient2, long batch, long height,
                                 long width, long height2, long width2, long channels, long radius, long total,
                                 float step, int threads)
{
    if (!batch) return;
    const Sizes sizes{batch, height, width, height2, width2, channels};
    const long plane = height * width, pieces = channels / PIECE, parts = std::min(pieces, (threads + batch - 1) / batch);
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long image = 0; image < batch; image++)
        for (long part = 0; part < parts; part++)
            for (long pixel = image * plane; pixel < (image + 1) * plane; pixel++) {
                const Window window(sizes, pixel, points, step, radius);
                if (!window.box.meets(sizes)) continue;
                float block[WIDEST * WIDEST + LANES];
                long pixels[WIDEST * WIDEST];
                spread(window, gradients + pixel * total, block);
                window.box.locate(sizes, image * sizes.size2(), -1L, pixels);
                for (long piece = part * pieces / parts; piece < (part + 1) * pieces / parts; piece++) {
                    const long query = pixel * channels + piece * PIECE, map = piece * PIECE;
                    add_gradients(features1 + query, features2 + map, pixels, block, window.box.count(),
                                  gradient1 + query, gradient2 + map);
                }
            }
}
