// Convolutions of stride 1, padded with zeros, by minimal filtering. A block of tiles goes through all steps while it
// is in the cache: its inputs are transformed, multiplied with the transformed weights place by place, and restored.

#include "tiles.h"

// Tiles of a block: few enough to stay in the cache, but twice as many where many weights have to be fetched for each.
constexpr long block_for(long weights) { return (weights < 500000 ? 2 : 4) * ROWS; }

// ROWS lines of `channels` values times a panel of weights: PANEL products each, in lines of `width`.
static inline void multiply(const float *values, long channels, const float *weights, float *products, long width)
{
    Lanes sums[ROWS][2] = {};
    for (long channel = 0; channel < channels; channel++) {
        Lanes weights1 = load(weights + channel * PANEL), weights2 = load(weights + channel * PANEL + LANES);
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; row++) {
            float value = values[row * channels + channel];
            sums[row][0] += value * weights1;
            sums[row][1] += value * weights2;
        }
    }
#pragma GCC unroll 16
    for (int row = 0; row < ROWS; row++) {
        store(products + row * width, sums[row][0]);
        store(products + row * width + LANES, sums[row][1]);
    }
}

// The products of a tile, `step` numbers from place to place, to its outputs.
template <int high, int wide>
static inline void restore_tile(const float *products, long step, const float *bias, float *const *pixels,
                                long channels)
{
    constexpr int tall = outputs_of(high), broad = outputs_of(wide);
    for (long chunk = 0; chunk < channels; chunk += LANES) {
        long channel = first_lane(chunk, channels);
        Lanes line[8], half[tall * wide], shift = load(bias + channel);
        for (int j = 0; j < wide; j++) {
            for (int i = 0; i < high; i++) line[i] = load(products + (i * wide + j) * step + channel);
            restore_outputs<high>(line, half + j, wide);
        }
        for (int i = 0; i < tall; i++) {
            restore_outputs<wide>(half + i * wide, line, 1);
            for (int j = 0; j < broad; j++) store(pixels[i * broad + j] + channel, line[j] + shift);
        }
    }
}

template <int high, int wide>
static void convolve_tiles(const Shape &shape, const float *x, const float *weights, const float *bias, float *y,
                           int threads)
{
    const Tiles<high, wide> tiles(shape);
    constexpr int places = high * wide;
    const long inputs = shape.group_inputs(), outputs = shape.group_outputs(), width = rounded_up(outputs, PANEL);
    const long block = block_for(places * width * inputs);
    const long value_step = apart(block * inputs), product_step = apart(block * width);  // from place to place
    const Floats nothing(inputs);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Floats kept_values, kept_products, kept_waste;
        float *values = room(kept_values, places * value_step);
        float *products = room(kept_products, places * product_step), *waste = room(kept_waste, outputs);
#pragma omp for schedule(static) collapse(2)
        for (long start = 0; start < tiles.count; start += block)
            for (long group = 0; group < shape.groups; group++) {
                long count = std::min(block, tiles.count - start);
                for (long tile = 0; tile < count; tile++) {
                    const float *pixels[places];
                    tiles.locate_inputs(start + tile, x + group * inputs, shape.inputs, nothing.data(), pixels);
                    transform_tile<high, wide, false>(pixels, inputs, values + tile * inputs, value_step);
                }
                const float *panel = weights + group * places * width * inputs;
                for (long place = 0; place < places; place++)
                    for (long column = 0; column < width; column += PANEL, panel += PANEL * inputs)
                        for (long tile = 0; tile < count; tile += ROWS)
                            multiply(values + place * value_step + tile * inputs, inputs, panel,
                                     products + place * product_step + tile * width + column, width);
                for (long tile = 0; tile < count; tile++) {
                    float *pixels[places];
                    tiles.locate_outputs(start + tile, y + group * outputs, shape.outputs, waste, pixels);
                    restore_tile<high, wide>(products + tile * width, product_step, bias + group * outputs, pixels,
                                             outputs);
                }
            }
    }
}

// x (batch, height, width, inputs) to y (batch, height, width, outputs); weights as transform_weights makes them. Each
// group has at least LANES inputs and outputs; the kernel is of rows x columns.
extern "C" void convolve(const float *x, const float *weights, const float *bias, float *y, long batch, long height,
                         long width, long inputs, long outputs, long groups, int rows, int columns, int threads)
{
    Shape shape{batch, height, width, inputs, outputs, groups};
    with_places(rows, columns, [&](auto high, auto wide) {
        convolve_tiles<high.value, wide.value>(shape, x, weights, bias, y, threads);
    });
}
