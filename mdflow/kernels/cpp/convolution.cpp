// Convolutions of stride 1, padded with zeros, by minimal filtering, then LeakyReLU and a shuffle of channels. A block of
// tiles goes through all steps while it is in the cache: its inputs are transformed, multiplied with the transformed
// weights place by place, and restored.

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

// What follows a convolution: LeakyReLU of a slope (1: none), and a shuffle that takes channel i of part p, of so many
// parts, to place i·parts + p (1: none).
struct After {
    float slope;
    long parts;
};

static inline Lanes leaky(Lanes values, float slope) { return values > 0 ? values : values * slope; }

// The products of a tile, `step` numbers from place to place, to its outputs.
template <int high, int wide, bool linear>
static inline void restore_tile(const float *products, long step, const float *bias, float slope,
                                float *const *pixels, long channels)
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
            for (int j = 0; j < broad; j++) {
                const Lanes value = line[j] + shift;
                store(pixels[i * broad + j] + channel, linear ? value : leaky(value, slope));
            }
        }
    }
}

// A block of tiles between two steps, by place.
struct Block {
    long start, count;
    float *values, *products;
    long value_step, product_step;  // from place to place
};

// The products of a block's tiles with a group's weights.
template <int high, int wide>
static void multiply_block(const Tiles<high, wide> &tiles, const Shape &shape, const Block &block, long group,
                           const float *x, const float *weights, const float *nothing)
{
    constexpr int places = high * wide;
    const long inputs = shape.group_inputs(), width = rounded_up(shape.group_outputs(), PANEL);
    for (long tile = 0; tile < block.count; tile++) {
        const float *pixels[places];
        tiles.locate_inputs(block.start + tile, x + group * inputs, shape.inputs, nothing, pixels);
        transform_tile<high, wide, false>(pixels, inputs, block.values + tile * inputs, block.value_step);
    }
    const float *panel = weights + group * places * width * inputs;
    for (long place = 0; place < places; place++)
        for (long column = 0; column < width; column += PANEL, panel += PANEL * inputs)
            for (long tile = 0; tile < block.count; tile += ROWS)
                multiply(block.values + place * block.value_step + tile * inputs, inputs, panel,
                         block.products + place * block.product_step + tile * width + column, width);
}

// Number i of part p, of `parts` with `size` numbers each, to place i·parts + p. A known number makes the loop short.
template <int known> static inline void shuffle(const float *from, float *to, long parts, long size)
{
    if (known) parts = known;
    for (long i = 0; i < size; i++)
        for (long part = 0; part < parts; part++) to[i * parts + part] = from[part * size + i];
}

// The outputs of a block's tiles, one pixel after the other, to their places in y, shuffled.
template <int high, int wide>
static void shuffle_block(const Tiles<high, wide> &tiles, const Shape &shape, const Block &block, long parts,
                          const float *outputs, float *y, float *waste)
{
    constexpr int count = outputs_of(high) * outputs_of(wide);
    for (long tile = 0; tile < block.count; tile++) {
        float *pixels[count];
        tiles.locate_outputs(block.start + tile, y, shape.outputs, waste, pixels);
        for (int pixel = 0; pixel < count; pixel++, outputs += shape.outputs)
            (parts == 3 ? shuffle<3> : shuffle<0>)(outputs, pixels[pixel], parts, shape.outputs / parts);
    }
}

template <int high, int wide, bool linear>
static void convolve_tiles(const Shape &shape, const float *x, const float *weights, const float *bias, After after,
                           float *y, int threads)
{
    const Tiles<high, wide> tiles(shape);
    constexpr int places = high * wide, pixels_of_tile = outputs_of(high) * outputs_of(wide);
    const long inputs = shape.group_inputs(), outputs = shape.group_outputs(), width = rounded_up(outputs, PANEL);
    const long most = block_for(places * width * inputs), value_step = apart(most * inputs);
    const long product_step = apart(most * width);
    const bool shuffled = after.parts > 1;
    const long together = shuffled ? shape.groups : 1;  // groups that a shuffle wants at once
    const Floats nothing(inputs);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Floats kept_values, kept_products, kept_waste, kept_outputs;
        float *values = room(kept_values, places * value_step);
        float *products = room(kept_products, places * product_step), *waste = room(kept_waste, shape.outputs);
        float *unshuffled = room(kept_outputs, shuffled ? most * pixels_of_tile * shape.outputs : 0);
#pragma omp for schedule(static) collapse(2)
        for (long start = 0; start < tiles.count; start += most)
            for (long first = 0; first < shape.groups; first += together) {
                const Block block{start, std::min(most, tiles.count - start), values, products, value_step, product_step};
                for (long group = first; group < first + together; group++) {
                    multiply_block(tiles, shape, block, group, x, weights, nothing.data());
                    for (long tile = 0; tile < block.count; tile++) {
                        float *pixels[pixels_of_tile];
                        if (shuffled)
                            for (int i = 0; i < pixels_of_tile; i++)
                                pixels[i] = unshuffled + (tile * pixels_of_tile + i) * shape.outputs + group * outputs;
                        else
                            tiles.locate_outputs(start + tile, y + group * outputs, shape.outputs, waste, pixels);
                        restore_tile<high, wide, linear>(products + tile * width, product_step, bias + group * outputs,
                                                         after.slope, pixels, outputs);
                    }
                }
                if (shuffled) shuffle_block(tiles, shape, block, after.parts, unshuffled, y, waste);
            }
    }
}

// x (batch, height, width, inputs) to y (batch, height, width, outputs); weights as transform_weights makes them. Each
// group has at least LANES inputs and outputs; the kernel is of rows x columns.
extern "C" void convolve(const float *x, const float *weights, const float *bias, float *y, long batch, long height,
                         long width, long inputs, long outputs, long groups, int rows, int columns, float slope,
                         int parts, int threads)
{
    Shape shape{batch, height, width, inputs, outputs, groups};
    with_places(rows, columns, [&](auto high, auto wide) {
        const auto run = slope == 1 ? convolve_tiles<high.value, wide.value, true>
                                    : convolve_tiles<high.value, wide.value, false>;
        run(shape, x, weights, bias, {slope, parts}, y, threads);
    });
}
