// The local cost volume: inner products of each pixel of image 1 with those around its place in image 2, for a list of
// displacements; and its gradients, each a sum over the same displacements. What lies outside is zero.

#include <algorithm>
#include <cstdlib>

#include "ring.h"
#include "tiles.h"

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

constexpr int BLOCKS = 2;       // registers of pixels that are multiplied at once
constexpr int FEW = LANES / 2;  // with as many displacements: their addresses stay in registers too

// The rows of a map around one of them, channel by channel, with zeros around.
struct Planes {
    const Maps &maps;
    const float *map;
    const long line;  // from channel to channel
    Ring<float> ring;

    Planes(const Maps &maps, const float *map, Floats &kept, long rows)
        : maps(maps),
          map(map),
          line(apart(maps.width + 2 * maps.reach + BLOCKS * LANES)),
          ring(maps.height, rows, maps.channels * line)
    {
        ring.settle(room(kept, ring.size()));
    }

    // The first pixel of row y of an image, in its first channel.
    const float *row(long image, long y)
    {
        const float *from = map + (image * maps.height + y) * maps.width * maps.channels;
        return ring.row(image, y, [&](float *place) { spread(from, place + maps.reach); }) + maps.reach;
    }

    void spread(const float *from, float *to)
    {
        long x = 0;
        for (; x + LANES <= maps.width; x += LANES)
            for (long channel = 0; channel < maps.channels; channel += LANES) {
                Lanes block[LANES];
                for (int i = 0; i < LANES; i++) block[i] = load(from + (x + i) * maps.channels + channel);
                transpose(block);
                for (int i = 0; i < LANES; i++) store(to + (channel + i) * line + x, block[i]);
            }
        for (; x < maps.width; x++)
            for (long channel = 0; channel < maps.channels; channel++)
                to[channel * line + x] = from[x * maps.channels + channel];
    }
};

// Sums of the products of BLOCKS registers of pixels with those at FEW displacements, LANES from block to block.
static inline void multiply(const float *pixels, const float *const *displaced, long channels, long line, Lanes *found)
{
    const float *others[FEW];
    for (int i = 0; i < FEW; i++) others[i] = displaced[i];
    Lanes sums[BLOCKS][FEW] = {};
    for (long channel = 0; channel < channels; channel++) {
        const float *own = pixels + channel * line;
#pragma GCC unroll 2
        for (int block = 0; block < BLOCKS; block++) {
            const Lanes values = load(own + block * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < FEW; i++) sums[block][i] += values * load(others[i] + channel * line + block * LANES);
        }
    }
    for (int block = 0; block < BLOCKS; block++) std::copy_n(sums[block], FEW, found + block * LANES);
}

// A row of costs: `displaced` is where the first pixel's partner is for each displacement, up to a multiple of LANES.
static void correlate_row(const Maps &maps, const float *pixels, const std::vector<const float *> &displaced, long line,
                          float *costs)
{
    const long count = maps.count;
    const float *others[LANES];
    float rest[LANES];
    for (long x = 0; x < maps.width; x += BLOCKS * LANES)
        for (long k = 0; k < count; k += LANES) {
            Lanes found[BLOCKS * LANES] = {};
            for (int i = 0; i < LANES; i++) others[i] = displaced[k + i] + x;
            for (int i = 0; i < std::min<long>(LANES, count - k); i += FEW)
                multiply(pixels + x, others + i, maps.channels, line, found + i);
            for (int block = 0; block < BLOCKS; block++) transpose(found + block * LANES);
            float *to = costs + x * count + k;
            for (long i = 0; i < std::min<long>(BLOCKS * LANES, maps.width - x); i++, to += count) {
                const Lanes means = found[i] * (1.0f / maps.channels);
                if (count - k >= LANES) {
                    store(to, means);
                } else {
                    store(rest, means);
                    std::copy_n(rest, count - k, to);
                }
            }
        }
}

// costs (pixels, count): mean products of maps (batch, height, width, channels).
extern "C" void correlate(const float *features1, const float *features2, const long *displacements, float *costs,
                          long batch, long height, long width, long channels, long count, int threads)
{
    const Maps maps(batch, height, width, channels, count, displacements);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Floats kept1, kept2;
        Planes planes1(maps, features1, kept1, 1), planes2(maps, features2, kept2, 2 * maps.reach + 1);
        std::vector<const float *> others(rounded_up(count, LANES));
#pragma omp for schedule(static)
        for (long row = 0; row < batch * height; row++) {
            const long image = row / height, y = row % height;
            const float *pixels = planes1.row(image, y);
            std::fill(others.begin(), others.end(), planes2.row(image, -1));
            for (long k = 0; k < count; k++)
                others[k] = planes2.row(image, y + displacements[2 * k]) + displacements[2 * k + 1];
            correlate_row(maps, pixels, others, planes1.line, costs + row * width * count);
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
