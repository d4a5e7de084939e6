// The way back through LeakyReLU and a shuffle of channels that are last in memory.

#include "sums.h"

// Pixels of `parts` times `size` numbers, number i of part p at place i·parts + p: of the gradient there and the outputs
// y, above 0 where what LeakyReLU was given is, to the gradient before both. The sums over the pixels are added to `sums`;
// `line` has room for a pixel. A known number of parts makes the loop short.
template <int known>
static void block_gradient(const float *__restrict gradient, const float *__restrict y, float *__restrict result,
                           float *__restrict sums, float *__restrict line, long pixels, long parts, long size,
                           float slope)
{
    if (known) parts = known;
    const long channels = parts * size;
    for (long pixel = 0; pixel < pixels; pixel++, gradient += channels, y += channels, result += channels) {
        for (long i = 0; i < channels; i++) line[i] = y[i] > 0 ? gradient[i] : slope * gradient[i];
        for (long part = 0; part < parts; part++)
            for (long i = 0; i < size; i++) result[part * size + i] = line[i * parts + part];
        for (long i = 0; i < channels; i++) sums[i] += result[i];
    }
}

// Also gives the sums over all pixels, the gradient of a bias.
extern "C" void activation_gradient(const float *gradient, const float *y, float *result, float *bias, long pixels,
                                    long parts, long size, float slope, int threads)
{
    const long channels = parts * size, blocks = (pixels + BLOCK - 1) / BLOCK;
    const auto run = parts == 1 ? block_gradient<1> : parts == 3 ? block_gradient<3> : block_gradient<0>;
    const auto add_blocks = [&](long from, long to, Totals &totals) {
        std::vector<float> sums(channels), line(channels);
        for (long block = from; block < to; block++) {
            const long first = block * BLOCK, start = first * channels;
            std::fill(sums.begin(), sums.end(), 0.0f);
            run(gradient + start, y + start, result + start, sums.data(), line.data(), std::min(BLOCK, pixels - first),
                parts, size, slope);
            for (long channel = 0; channel < channels; channel++) totals[channel] += sums[channel];
        }
    };
    const Totals totals = totals_by_thread(blocks, channels, threads, add_blocks);
    for (long channel = 0; channel < channels; channel++) bias[channel] = totals[channel];
}
