// Normalisation of maps (batch, pixels, channels), and ReLU behind it.

#include <cmath>

#include "sums.h"

template <typename Number>
static void item_statistics(const Number *x, float *scale, float *shift, long pixels, long channels, float least, int threads)
{
    std::vector<float> origin(channels);  // near the mean, so that the squares do not cancel
    for (long i = 0; i < channels; i++) origin[i] = single(x[i]);
    const Totals totals = channel_sums(x, origin.data(), pixels, channels, threads);
    for (long i = 0; i < channels; i++) {
        const double mean = totals[i] / pixels, variance = totals[channels + i] / pixels - mean * mean;
        const double factor = 1 / std::sqrt(std::max(variance, 0.0) + least);
        scale[i] = factor;
        shift[i] = -(origin[i] + mean) * factor;
    }
}

// The factors and the shifts (batch, channels) that take each item's channels to mean 0 and variance 1; `least` is added to
// the variance.
extern "C" void statistics(const void *x, float *scale, float *shift, long batch, long pixels, long channels, float least,
                           int half, int threads)
{
    with_numbers(half, [&](auto number) {
        for (long item = 0; item < batch; item++)
            item_statistics(at<decltype(number)>(x, item * pixels * channels), scale + item * channels,
                            shift + item * channels, pixels, channels, least, threads);
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
                run(at<Number>(x, place), &scales[item * line], &shifts[item * line],
                    shortcut ? at<Number>(shortcut, place) : nullptr, std::min(piece, count - start), line);
            }
    });
}
