// The weights of a convolution by minimal filtering: to their values at the places, and their gradient back from there.

#include "tiles.h"

// Tiles that the sums of the gradient take up at once: what one panel of them needs stays in the first cache.
constexpr int block_for(int places) { return places == 1 ? 512 : 64; }

// Where a weight is: the distance in memory from one output, and one input, to the next; whether taps run backwards.
struct Weights {
    long output_step, input_step;
    bool turned;
};

template <int high, int wide>
static void transform_all(const Shape &shape, const float *from, Weights order, float *values, int threads)
{
    constexpr int rows = taps_of(high), columns = taps_of(wide), taps = rows * columns, places = high * wide;
    const long inputs = shape.group_inputs(), outputs = shape.group_outputs(), width = rounded_up(outputs, PANEL);
#pragma omp parallel for schedule(static) collapse(3) num_threads(threads)
    for (long group = 0; group < shape.groups; group++)
        for (long output = 0; output < width; output += LANES)
            for (long input = 0; input < inputs; input++) {
                Lanes kernel[taps] = {}, half[high * columns], line[8];
                const float *weights = from + group * inputs * outputs * taps + input * order.input_step;
                for (long lane = 0; lane < std::min<long>(LANES, outputs - output); lane++)
                    for (int tap = 0; tap < taps; tap++) {
                        float weight = weights[(output + lane) * order.output_step + tap];
                        kernel[order.turned ? taps - 1 - tap : tap][lane] = weight;
                    }
                float *panel = values + (group * places * width + output / PANEL * PANEL) * inputs;
                for (int j = 0; j < columns; j++) {
                    for (int i = 0; i < rows; i++) line[i] = kernel[i * columns + j];
                    transform_taps<high>(line, half + j, columns);
                }
                for (int i = 0; i < high; i++) {
                    transform_taps<wide>(half + i * columns, line, 1);
                    for (int j = 0; j < wide; j++)
                        store(panel + (i * wide + j) * width * inputs + input * PANEL + output % PANEL, line[j]);
                }
            }
}

// To (groups, places, panels of outputs, inputs, PANEL). `weights` are (outputs, inputs of a group, taps); `turned`: of
// the convolution whose outputs' gradients they take to those of its inputs, (inputs, outputs of a group, taps).
extern "C" void transform_weights(const float *weights, float *values, long inputs, long outputs, long groups, int rows,
                                  int columns, int turned, int threads)
{
    Shape shape{1, 1, 1, inputs, outputs, groups};
    with_places(rows, columns, [&](auto high, auto wide) {
        constexpr long count = taps_of(high.value) * taps_of(wide.value);
        Weights order = turned ? Weights{count, shape.group_outputs() * count, true}
                               : Weights{shape.group_inputs() * count, count, false};
        transform_all<high.value, wide.value>(shape, weights, order, values, threads);
    });
}

extern "C" int panel() { return PANEL; }

// ROWS lines of PANEL sums, `width` apart, over `count` tiles: values times gradients, added to `total` or in its
// place.
static inline void accumulate(const float *values, long value_step, const float *gradients, long gradient_step,
                              long count, bool added, float *total, long width)
{
    Lanes sums[ROWS][2] = {};
    for (long tile = 0; tile < count; tile++) {
        const float *line = gradients + tile * gradient_step;
        Lanes gradients1 = load(line), gradients2 = load(line + LANES);
#pragma GCC unroll 16
        for (int row = 0; row < ROWS; row++) {
            float value = values[tile * value_step + row];
            sums[row][0] += value * gradients1;
            sums[row][1] += value * gradients2;
        }
    }
    for (int row = 0; row < ROWS; row++) {
        float *line = total + row * width;
        store(line, added ? load(line) + sums[row][0] : sums[row][0]);
        store(line + LANES, added ? load(line + LANES) + sums[row][1] : sums[row][1]);
    }
}

// One input's sums, `step` numbers from place to place, to the gradient of its weights, `output_step` from output to
// output.
template <int high, int wide>
static inline void restore_gradient(const float *sums, long step, float *gradient, long output_step, long outputs)
{
    constexpr int rows = taps_of(high), columns = taps_of(wide), taps = rows * columns;
    for (long output = 0; output < outputs; output += LANES) {
        Lanes line[8], half[rows * wide], kernel[taps];
        for (int j = 0; j < wide; j++) {
            for (int i = 0; i < high; i++) line[i] = load(sums + (i * wide + j) * step + output);
            restore_taps<high>(line, half + j, wide);
        }
        for (int i = 0; i < rows; i++) restore_taps<wide>(half + i * wide, kernel + i * columns, 1);
        for (long lane = 0; lane < std::min<long>(LANES, outputs - output); lane++)
            for (int tap = 0; tap < taps; tap++) gradient[(output + lane) * output_step + tap] = kernel[tap][lane];
    }
}

template <int high, int wide>
static void sum_gradients(const Shape &shape, const float *x, const float *gradient, float *result, int threads)
{
    const Tiles<high, wide> tiles(shape);
    constexpr int places = high * wide, taps = taps_of(high) * taps_of(wide), block = block_for(places);
    const long inputs = shape.group_inputs(), outputs = shape.group_outputs();
    const long lines = rounded_up(inputs, ROWS), width = rounded_up(outputs, PANEL), planes = shape.groups * places;
    static thread_local Floats kept_values, kept_gradients, kept_sums;
    const long value_step = apart(lines), gradient_step = apart(width);  // from tile to tile
    const long value_plane = apart(block * value_step), gradient_plane = apart(block * gradient_step);
    float *values = room(kept_values, planes * value_plane);
    float *gradients = room(kept_gradients, planes * gradient_plane);
    const Floats nothing(std::max(inputs, outputs));
    float *sums = room(kept_sums, planes * lines * width);
    if (!tiles.count) std::fill_n(sums, planes * lines * width, 0.0f);
#pragma omp parallel num_threads(threads)
    {
        for (long start = 0; start < tiles.count; start += block) {
            long count = std::min<long>(block, tiles.count - start);
#pragma omp for schedule(static) collapse(2)
            for (long group = 0; group < shape.groups; group++)
                for (long tile = 0; tile < count; tile++) {
                    const float *pixels[places];
                    tiles.locate_inputs(start + tile, x + group * inputs, shape.inputs, nothing.data(), pixels);
                    transform_tile<high, wide, false>(
                        pixels, inputs, values + group * places * value_plane + tile * value_step, value_plane);
                    tiles.locate_outputs(start + tile, gradient + group * outputs, shape.outputs, nothing.data(),
                                         pixels);
                    transform_tile<high, wide, true>(
                        pixels, outputs, gradients + group * places * gradient_plane + tile * gradient_step,
                        gradient_plane);
                }
#pragma omp for schedule(static) collapse(2)
            for (long plane = 0; plane < planes; plane++)
                for (long column = 0; column < width; column += PANEL)
                    for (long line = 0; line < lines; line += ROWS)
                        accumulate(values + plane * value_plane + line, value_step,
                                   gradients + plane * gradient_plane + column, gradient_step, count, start > 0,
                                   sums + (plane * lines + line) * width + column, width);
        }
#pragma omp for schedule(static) collapse(2)
        for (long group = 0; group < shape.groups; group++)
            for (long input = 0; input < inputs; input++)
                restore_gradient<high, wide>(sums + (group * places * lines + input) * width, lines * width,
                                             result + (group * outputs * inputs + input) * taps, inputs * taps,
                                             outputs);
    }
}

// The gradient (outputs, inputs of a group, taps) of the weights, from inputs x and the gradient of the outputs.
extern "C" void weight_gradient(const float *x, const float *gradient, float *result, long batch, long height,
                                long width, long inputs, long outputs, long groups, int rows, int columns,
                                int threads)
{
    Shape shape{batch, height, width, inputs, outputs, groups};
    with_places(rows, columns, [&](auto high, auto wide) {
        sum_gradients<high.value, wide.value>(shape, x, gradient, result, threads);
    });
}
