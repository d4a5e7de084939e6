// Normalisation of maps (batch, pixels, channels), and ReLU behind it. Few channels are taken several pixels at a time, as if
// these were one with more channels: short loops cost more than what is in them.

#include <algorithm>
#include <cmath>
#include <vector>

#include "numbers.h"

constexpr long BLOCK = 256;   // lines whose sums are kept in single precision
constexpr long SHORTEST = 64; // numbers of a line

// Pixels of a line.
static inline long pixels_of_line(long channels) { return (SHORTEST + channels - 1) / channels; }

// Adds sums over pixels to `totals`: for each channel of the difference from `origin`, then of its square.
template <typename Number>
static void add_sums(const Number *x, const std::vector<float> &origin, long pixels, long channels, double *totals)
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

template <typename Number>
static void item_statistics(const Number *x, float *scale, float *shift, long batch, long pixels, long channels,
                            float least, int threads)
{
    std::vector<double> totals(batch * threads * 2 * channels);  // by thread, added up in one order
    const auto origins = [&](long item) {  // near the mean, so that the squares do not cancel
        std::vector<float> origin(channels);
        for (long i = 0; i < channels; i++) origin[i] = single(x[item * pixels * channels + i]);
        return origin;
    };
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long item = 0; item < batch; item++)
        for (long thread = 0; thread < threads; thread++) {
            const long first = pixels * thread / threads, last = pixels * (thread + 1) / threads;
            add_sums(x + (item * pixels + first) * channels, origins(item), last - first, channels,
                     &totals[(item * threads + thread) * 2 * channels]);
        }
    for (long item = 0; item < batch; item++) {
        const std::vector<float> origin = origins(item);
        for (long i = 0; i < channels; i++) {
            double sum = 0, squares = 0;
            for (long thread = 0; thread < threads; thread++) {
                const double *both = &totals[(item * threads + thread) * 2 * channels];
                sum += both[i];
                squares += both[channels + i];
            }
            const double mean = sum / pixels, variance = std::max(0.0, squares / pixels - mean * mean);
            const double factor = 1 / std::sqrt(variance + least);
            scale[item * channels + i] = factor;
            shift[item * channels + i] = -(origin[i] + mean) * factor;
        }
    }
}

// The factors and the shifts (batch, channels) that take each item's channels to mean 0 and variance 1; `least` is added to
// the variance.
extern "C" void statistics(const void *x, float *scale, float *shift, long batch, long pixels, long channels, float least,
                           int half, int threads)
{
    with_numbers(half, [&](auto number) {
        item_statistics(static_cast<const decltype(number) *>(x), scale, shift, batch, pixels, channels, least, threads);
    });
}

static inline float positive(float value) { return value > 0 ? value : 0; }

template <bool relu, bool added, typename Number>
static void change_lines(Number *__restrict x, const float *scale, const float *shift, const Number *shortcut, long count,
                         long line)
{
    for (long start = 0; start < count; start += line, x += line) {
        const long length = std::min(line, count - start);
        for (long i = 0; i < length; i++) {
            float value = single(x[i]) * scale[i] + shift[i];
            if (relu) value = positive(value);
            put(x[i], added ? positive(value + single(shortcut[i])) : value);
        }
        if (added) shortcut += line;
    }
}

// In place: x times `scale` plus `shift` (batch, channels), its ReLU where that is asked for; where there is a shortcut, ReLU,
// then ReLU of the sum with it.
extern "C" void affine(void *x, const float *scale, const float *shift, const void *shortcut, long batch, long pixels,
                       long channels, int relu, int half, int threads)
{
    const long line = pixels_of_line(channels) * channels, count = pixels * channels, piece = BLOCK * line;
    std::vector<float> scales(batch * line), shifts(batch * line);
    for (long i = 0; i < batch * line; i++) {
        const long own = i / line * channels + i % line % channels;
        scales[i] = scale[own];
        shifts[i] = shift[own];
    }
    with_numbers(half, [&](auto number) {
        typedef decltype(number) Number;
        const auto run = shortcut ? change_lines<true, true, Number>
                         : relu   ? change_lines<true, false, Number>
                                  : change_lines<false, false, Number>;
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
        for (long item = 0; item < batch; item++)
            for (long start = 0; start < count; start += piece) {
                const long place = item * count + start;
                run(static_cast<Number *>(x) + place, &scales[item * line], &shifts[item * line],
                    shortcut ? static_cast<const Number *>(shortcut) + place : nullptr, std::min(piece, count - start),
                    line);
            }
    });
}
