// The features of two maps as vectors whose inner products are cosines: centred by the means of both maps, each pixel's then
// divided by its length; and the way back.

#include <cmath>

#include "sums.h"

constexpr int TOGETHER = 16;  // partial sums, so that compilers sum whole registers

// The sum over channels of what `value` gives.
template <typename Value> static inline float channel_sum(long channels, Value value)
{
    float parts[TOGETHER] = {}, sum = 0;
    long i = 0;
    for (; i + TOGETHER <= channels; i += TOGETHER)
        for (int j = 0; j < TOGETHER; j++) parts[j] += value(i + j);
    for (int j = 0; j < TOGETHER; j++) sum += parts[j];
    for (; i < channels; i++) sum += value(i);
    return sum;
}

// 1 / the length of a pixel, less its means, where a length is the root of the mean square plus `least`.
template <typename Number>
static inline float inverse_length(const Number *x, const float *means, long channels, float least)
{
    const float sum = channel_sum(channels, [&](long i) {
        const float value = single(x[i]) - means[i];
        return value * value;
    });
    return 1 / std::sqrt(sum / channels + least);
}

template <typename Number>
static void divide_by_length(const Number *x, const float *means, float *__restrict y, long pixels, long channels,
                             float least, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long pixel = 0; pixel < pixels; pixel++) {
        const Number *from = x + pixel * channels;
        float *__restrict to = y + pixel * channels;
        const float inverse = inverse_length(from, means, channels, least);
        for (long i = 0; i < channels; i++) to[i] = (single(from[i]) - means[i]) * inverse;
    }
}

// Both maps (batch, pixels, channels) to the vectors; `statistics` (batch, channels + 1): the means, and `flat` times the mean
// square of both maps, plus a little, which is added to each pixel's.
extern "C" void cosines(const void *features1, const void *features2, float *cosines1, float *cosines2, float *statistics,
                        long batch, long pixels, long channels, float flat, int half1, int half2, int threads)
{
    const long size = pixels * channels;
    with_numbers(half1, half2, [&](auto number1, auto number2) {
        for (long item = 0; item < batch; item++, statistics += channels + 1, cosines1 += size, cosines2 += size) {
            const auto *x1 = at<decltype(number1)>(features1, item * size);
            const auto *x2 = at<decltype(number2)>(features2, item * size);
            float *means = statistics;
            for (long i = 0; i < channels; i++) means[i] = single(x1[i]);  // near enough for squares not to cancel
            const Totals sums1 = channel_sums(x1, means, pixels, channels, threads);
            const Totals sums2 = channel_sums(x2, means, pixels, channels, threads);
            double square = 0;
            for (long i = 0; i < channels; i++) {
                const double mean = (sums1[i] + sums2[i]) / (2 * pixels);
                square += (sums1[channels + i] + sums2[channels + i]) / (2 * pixels) - mean * mean;
                means[i] += mean;
            }
            const float least = statistics[channels] = flat * std::max(square, 0.0) / channels + 1e-8;
            divide_by_length(x1, means, cosines1, pixels, channels, least, threads);
            divide_by_length(x2, means, cosines2, pixels, channels, least, threads);
        }
    });
}

// A map with the gradient of its vectors, for the way back. By pixel: 1 / its length, and the gradient of its mean square but for
// what goes by `least`.
template <typename Number> struct Back {
    const Number *x;
    const float *gradient, *statistics;
    long pixels, channels;
    std::vector<float> inverse, square;

    Back(const void *map, const float *gradient, const float *statistics, long item, long pixels, long channels)
        : x(at<Number>(map, item * pixels * channels)), gradient(gradient + item * pixels * channels),
          statistics(statistics + item * (channels + 1)), pixels(pixels), channels(channels), inverse(pixels),
          square(pixels)
    {
    }

    // The sums over pixels of the gradients of the centred map, by channel, and of those of the squares.
    Totals sums(int threads)
    {
        return totals_by_thread(pixels, channels + 1, threads, [&](long first, long last, Totals &totals) {
            std::vector<float> line(channels);
            for (long start = first; start < last; start += BLOCK) {
                std::fill(line.begin(), line.end(), 0.0f);
                for (long pixel = start; pixel < std::min(last, start + BLOCK); pixel++)
                    totals[channels] += add_pixel(pixel, line.data());
                for (long i = 0; i < channels; i++) totals[i] += line[i];
            }
        });
    }

    float add_pixel(long pixel, float *__restrict line)
    {
        const Number *from = x + pixel * channels;
        const float *back = gradient + pixel * channels, *means = statistics;
        const float one = inverse[pixel] = inverse_length(from, means, channels, statistics[channels]);
        const float product = channel_sum(channels, [&](long i) { return (single(from[i]) - means[i]) * back[i]; });
        const float other = square[pixel] = -0.5f * one * one * one * product, factor = 2 * other / channels;
        for (long i = 0; i < channels; i++) line[i] += back[i] * one + (single(from[i]) - means[i]) * factor;
        return other;
    }

    // With what goes by `least` to every square, and less the share of the means.
    void finish(void *result, long item, float more, const float *shares, int threads) const
    {
        Number *to = at<Number>(result, item * pixels * channels);
#pragma omp parallel for schedule(static) num_threads(threads)
        for (long pixel = 0; pixel < pixels; pixel++) {
            const long place = pixel * channels;
            const float one = inverse[pixel], factor = 2 * (square[pixel] + more) / channels;
            const float *back = gradient + place, *means = statistics;
            const Number *from = x + place;
            Number *__restrict y = to + place;
            for (long i = 0; i < channels; i++)
                put(y[i], back[i] * one + (single(from[i]) - means[i]) * factor - shares[i]);
        }
    }
};

// The gradients of both maps from those of the vectors, with the statistics of `cosines`.
extern "C" void cosine_gradients(const float *gradient1, const float *gradient2, const void *features1,
                                 const void *features2, const float *statistics, void *result1, void *result2, long batch,
                                 long pixels, long channels, float flat, int half1, int half2, int threads)
{
    with_numbers(half1, half2, [&](auto number1, auto number2) {
        for (long item = 0; item < batch; item++) {
            Back<decltype(number1)> back1(features1, gradient1, statistics, item, pixels, channels);
            Back<decltype(number2)> back2(features2, gradient2, statistics, item, pixels, channels);
            const Totals sums1 = back1.sums(threads), sums2 = back2.sums(threads);
            std::vector<float> shares(channels);
            for (long i = 0; i < channels; i++) shares[i] = (sums1[i] + sums2[i]) / (2 * pixels);
            const float more = flat * (sums1[channels] + sums2[channels]) / (2 * pixels);
            back1.finish(result1, item, more, shares.data(), threads);
            back2.finish(result2, item, more, shares.data(), threads);
        }
    });
}
