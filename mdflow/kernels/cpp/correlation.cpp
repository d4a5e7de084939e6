// The local cost volume: inner products of each pixel of image 1 with those around its place in image 2, for a list of
// displacements; and its gradients, each a sum over the same displacements. What lies outside is zero.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "lanes.h"

struct Maps {
    long batch, height, width, channels, count;  // of displacements
    const long *displacements;                   // (dy, dx) of each
    long reach = 0;                              // of the farthest

    Maps(long batch, long height, long width, long channels, long count, const long *displacements)
        : batch(batch), height(height), width(width), channels(channels), count(count), displacements(displacements)
    {
        for (long i = 0; i < 2 * count; i++) reach = std::max(reach, std::abs(displacements[i]));
    }

    // Calls `found` with the number of each displacement that leads from a pixel, `sign` times, to another, and that one.
    template <typename Found> void around(long pixel, long sign, Found found) const
    {
        const long y = pixel / width % height, x = pixel % width;
        const bool inner = y >= reach && x >= reach && y + reach < height && x + reach < width;
        for (long k = 0; k < count; k++) {
            const long dy = sign * displacements[2 * k], dx = sign * displacements[2 * k + 1];
            if (inner || (y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width))
                found(k, pixel + dy * width + dx);
        }
    }
};

// Inner products of a query with LANES pixels.
static inline Lanes products(const float *query, const float *const *pixels, long channels)
{
    Lanes sums[LANES] = {};
    for (long channel = 0; channel < channels; channel += LANES) {
        Lanes values = load(query + channel);
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) sums[i] += values * load(pixels[i] + channel);
    }
    return summed(sums);
}

// costs (pixels, count): mean products of maps (batch, height, width, channels).
extern "C" void correlate(const float *features1, const float *features2, const long *displacements, float *costs,
                          long batch, long height, long width, long channels, long count, int threads)
{
    const Maps maps(batch, height, width, channels, count, displacements);
    const std::vector<float> nothing(channels);
#pragma omp parallel num_threads(threads)
    {
        std::vector<const float *> pixels(count + LANES);
        std::vector<float> found(count + LANES);
#pragma omp for schedule(static)
        for (long pixel = 0; pixel < batch * height * width; pixel++) {
            std::fill(pixels.begin(), pixels.end(), nothing.data());
            maps.around(pixel, 1, [&](long k, long other) { pixels[k] = features2 + other * channels; });
            for (long k = 0; k < count; k += LANES)
                store(found.data() + k, products(features1 + pixel * channels, pixels.data() + k, channels) *
                                            (1.0f / channels));
            std::copy_n(found.data(), count, costs + pixel * count);
        }
    }
}

// The sum of pixels of a map, each times its weight, for PIECE channels.
static inline void weighted_sum(const float *map, const std::vector<long> &pixels, const std::vector<float> &weights,
                                long count, float *sum)
{
    constexpr int lines = PIECE / LANES;
    Lanes sums[2][lines] = {};  // two that do not wait for each other
    for (long k = 0; k < count; k += 2) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++)
#pragma GCC unroll 4
            for (int line = 0; line < lines; line++)
                sums[i][line] += weights[k + i] * load(map + pixels[k + i] + line * LANES);
    }
    for (int line = 0; line < lines; line++) store(sum + line * LANES, sums[0][line] + sums[1][line]);
}

// The gradient of the features of image 1 (`sign` 1, `other` those of image 2) or of image 2 (-1, those of image 1).
static void sum_gradients(const Maps &maps, const float *gradients, const float *other, long sign, float *result,
                          int threads)
{
#pragma omp parallel num_threads(threads)
    {
        std::vector<long> pixels(maps.count + 1);
        std::vector<float> weights(maps.count + 1);
#pragma omp for schedule(static)
        for (long pixel = 0; pixel < maps.batch * maps.height * maps.width; pixel++) {
            long count = 0;
            maps.around(pixel, sign, [&](long k, long found) {
                weights[count] = gradients[(sign > 0 ? pixel : found) * maps.count + k] / maps.channels;
                pixels[count++] = found * maps.channels;
            });
            weights[count] = 0;  // there may be an odd number of them
            pixels[count] = 0;
            for (long piece = 0; piece < maps.channels; piece += PIECE)
                weighted_sum(other + piece, pixels, weights, count, result + pixel * maps.channels + piece);
        }
    }
}

// From the gradients of the costs those of both maps, whose channels are a multiple of PIECE.
extern "C" void correlation_gradients(const float *features1, const float *features2, const long *displacements,
                                      const float *gradients, float *gradient1, float *gradient2, long batch,
                                      long height, long width, long channels, long count, int threads)
{
    const Maps maps(batch, height, width, channels, count, displacements);
    sum_gradients(maps, gradients, features2, 1, gradient1, threads);
    sum_gradients(maps, gradients, features1, -1, gradient2, threads);
}
