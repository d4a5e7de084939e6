// Sums over the pixels of a map (pixels, channels). Few channels are taken several pixels at a time, as if these were one with
// more channels: short loops cost more than what is in them.

#pragma once

#include <algorithm>
#include <vector>

#include "numbers.h"

constexpr long BLOCK = 256;    // pixels, or lines, whose sums are kept in single precision
constexpr long SHORTEST = 64;  // numbers of a line

typedef std::vector<double> Totals;

// Pixels of a line.
static inline long pixels_of_line(long channels) { return (SHORTEST + channels - 1) / channels; }

// Adds sums over pixels to `totals`: for each channel of the difference from `origin`, then of its square.
template <typename Number>
static void add_sums(const Number *x, const float *origin, long pixels, long channels, Totals &totals)
{
    const long line = pixels_of_line(channels) * channels, count = pixels * channels;
    std::vector<float> origins(line), sums(2 * line);
    for (long i = 0; i < line; i++) origins[i] = origin[i % channels];
    for (long start = 0; start < count; start += BLOCK * line) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        float *__restrict sum = sums.data(), *__restrict squares = sum + line;
        const float *from = origins.data();
        for (long first = start; first < std::min(count, start + BLOCK * line); first += line) {
            const Number *values = x + first;
            const long length = std::min(line, count - first);
            for (long i = 0; i < length; i++) {
                const float value = single(values[i]) - from[i];
                sum[i] += value;
                squares[i] += value * value;
            }
        }
        for (long i = 0; i < line; i++) {
            totals[i % channels] += sum[i];
            totals[channels + i % channels] += squares[i];
        }
    }
}

// The totals of `size` sums that each thread adds its share of so many parts to, by `run` with the first one, the one behind
// the last and the totals; added up in one order.
template <typename Run> static Totals totals_by_thread(long count, long size, int threads, Run run)
{
    std::vector<Totals> parts(threads, Totals(size));
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long thread = 0; thread < threads; thread++)
        run(count * thread / threads, count * (thread + 1) / threads, parts[thread]);
    for (long thread = 1; thread < threads; thread++)
        for (long i = 0; i < size; i++) parts[0][i] += parts[thread][i];
    return parts[0];
}

// `add_sums` over all pixels.
template <typename Number>
static Totals channel_sums(const Number *x, const float *origin, long pixels, long channels, int threads)
{
    return totals_by_thread(pixels, 2 * channels, threads, [&](long first, long last, Totals &totals) {
        add_sums(x + first * channels, origin, last - first, channels, totals);
    });
}
