// Normalisation of maps (batch, pixels, channels), and ReLU behind it.

#include <algorithm>
#include <cmath>
#include <vector>

#include "numbers.h"

constexpr long BLOCK = 256;  // pixels whose sums are kept in single precision

// Adds sums over pixels to `totals`: for each channel of the difference from `origin`, then of its square. `sums` has room
// for both.
template <typename Number>
static void add_sums(const Number *x, const float *origin, long pixels, long channels, float *__restrict sums,
                     double *totals)
{
    for (long start = 0; start < pixels; start += BLOCK) {
        std::fill(sums, sums + 2 * channels, 0.0f);
        for (long pixel = start; pixel < std::min(pixels, start + BLOCK); pixel++)
            for (long i = 0; i < channels; i++) {
                const float value = single(x[pixel * channels + i]) - origin[i];
                sums[i] += value;
                sums[channels + i] += value * value;
            }
        for (long i = 0; i < 2 * channels; i++) totals[i] += sums[i];
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
            std::vector<float> sums(2 * channels);
            add_sums(x + (item * pixels + first) * channels, origins(item).data(), last - first, channels, sums.data(),
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

template <bool added, typename Number>
static void rectify_pixels(Number *__restrict x, const float *scale, const float *shift, const Number *shortcut,
                           long pixels, long channels)
{
    for (long pixel = 0; pixel < pixels; pixel++, x += channels) {
        for (long i = 0; i < channels; i++) {
            const float value = positive(single(x[i]) * scale[i] + shift[i]);
            put(x[i], added ? positive(value + single(shortcut[i])) : value);
        }
        if (added) shortcut += channels;
    }
}

// In place: ReLU of x times `scale` plus `shift` (batch, channels); where there is a shortcut, then ReLU of the sum with it.
extern "C" void rectify(void *x, const float *scale, const float *shift, const void *shortcut, long batch, long pixels,
                        long channels, int half, int threads)
{
    with_numbers(half, [&](auto number) {
        typedef decltype(number) Number;
        const auto run = shortcut ? rectify_pixels<true, Number> : rectify_pixels<false, Number>;
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
        for (long item = 0; item < batch; item++)
            for (long start = 0; start < pixels; start += BLOCK) {
                const long place = (item * pixels + start) * channels, own = item * channels;
                run(static_cast<Number *>(x) + place, scale + own, shift + own,
                    shortcut ? static_cast<const Number *>(shortcut) + place : nullptr, std::min(BLOCK, pixels - start),
                    channels);
            }
    });
}
