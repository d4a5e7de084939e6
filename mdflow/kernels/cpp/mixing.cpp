// RAFT's upsampling: each fine pixel a convex mix of the nine coarse vectors around it.

#include <algorithm>
#include <vector>

#include "exponential.h"

// From the logits of a coarse pixel, nine for each of `count` fine ones, first those of the first neighbour, and the vectors
// of the neighbours to the mixes, all x and then all y. `sums` has room for twice as many numbers as there are fine pixels.
template <typename Number>
static void mix_pixel(const Number *logits, const float *x, const float *y, float temperature, long count,
                      float *__restrict mixed, float *__restrict sums)
{
    float *__restrict largest = sums + count, *__restrict mixed_x = mixed, *__restrict mixed_y = mixed + count;
    for (long i = 0; i < count; i++) {
        largest[i] = single(logits[i]);
        sums[i] = mixed_x[i] = mixed_y[i] = 0;
    }
    for (int k = 1; k < 9; k++)
        for (long i = 0; i < count; i++) {
            const float logit = single(logits[k * count + i]);
            largest[i] = logit > largest[i] ? logit : largest[i];
        }
    for (int k = 0; k < 9; k++)
        for (long i = 0; i < count; i++) {
            const float weight = exponential(temperature * (single(logits[k * count + i]) - largest[i]));
            sums[i] += weight;
            mixed_x[i] += weight * x[k];
            mixed_y[i] += weight * y[k];
        }
    for (long i = 0; i < count; i++) {
        mixed_x[i] /= sums[i];
        mixed_y[i] /= sums[i];
    }
}

// The nine vectors around a pixel of a plane (height, width), row by row; beyond the border its own, or zero.
static inline void around(const float *plane, long height, long width, long y, long x, bool replicate, float *values)
{
    for (long down = -1; down <= 1; down++)
        for (long across = -1; across <= 1; across++) {
            const long row = std::clamp(y + down, 0L, height - 1), column = std::clamp(x + across, 0L, width - 1);
            const bool inside = row == y + down && column == x + across;
            *values++ = inside || replicate ? plane[row * width + column] : 0;
        }
}

// logits (batch, height, width, 9, factor, factor) and a flow (batch, 2, height, width) to one `factor` times as large, in
// the same unit.
extern "C" void convex_mix(const void *logits, const float *flow, float *fine, long batch, long height, long width,
                           long factor, float temperature, int replicate, int half, int threads)
{
    const long plane = height * width, count = factor * factor;
    with_numbers(half, [&](auto number) {
        typedef decltype(number) Number;
#pragma omp parallel for schedule(static) num_threads(threads)
        for (long row = 0; row < batch * height; row++) {
            std::vector<float> mixed(2 * count), sums(2 * count);
            const long image = row / height, y = row % height;
            for (long x = 0; x < width; x++) {
                float vectors[2][9];
                for (int part = 0; part < 2; part++)
                    around(flow + (2 * image + part) * plane, height, width, y, x, replicate, vectors[part]);
                mix_pixel(at<Number>(logits, (row * width + x) * 9 * count), vectors[0], vectors[1], temperature,
                          count, mixed.data(), sums.data());
                for (long line = 0; line < 2 * factor; line++) {
                    const long part = line / factor, below = line % factor;
                    float *to = fine + (2 * image + part) * plane * count;
                    std::copy_n(mixed.data() + line * factor, factor,
                                to + ((y * factor + below) * width + x) * factor);
                }
            }
        }
    });
}
