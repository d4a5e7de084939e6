// Maps (batch, height, width, channels) as tiles of outputs, and as the tiles of inputs that those need.

#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "lines.h"

typedef std::vector<float> Floats;

struct Shape {
    long batch, height, width, inputs, outputs, groups;  // inputs and outputs: channels of all groups

    long group_inputs() const { return inputs / groups; }
    long group_outputs() const { return outputs / groups; }
};

constexpr long rounded_up(long count, long step) { return (count + step - 1) / step * step; }

// So many numbers from one to the next that the same ones of each do not fall on few sets of the cache: an odd number of
// its lines of 16 numbers.
constexpr long apart(long count) { return (rounded_up(count, 16) / 16 | 1) * 16; }

// Channels are taken LANES at once; the last ones overlap those before, so as to stay inside.
static inline long first_lane(long chunk, long channels) { return std::min(chunk, channels - LANES); }

// At least `count` numbers. Kept by the thread: pages that are given back are cleared at the next use.
static inline float *room(Floats &kept, size_t count)
{
    if (kept.size() < count) kept.resize(count);
    return kept.data();
}

// The tiles of a convolution whose lines have `high` places downwards and `wide` across.
template <int high, int wide> struct Tiles {
    static constexpr int places = high * wide, tall = outputs_of(high), broad = outputs_of(wide);
    long height, width, down, across, count;

    explicit Tiles(const Shape &shape)
        : height(shape.height), width(shape.width), down((height + tall - 1) / tall),
          across((width + broad - 1) / broad), count(shape.batch * down * across)
    {
    }

    // Where the pixels of a tile of outputs are in a map, or `elsewhere` for those beyond the border.
    template <typename Pointer>
    void locate_outputs(long tile, Pointer map, long channels, Pointer elsewhere, Pointer *pixels) const
    {
        locate(tile, 0, 0, tall, broad, map, channels, elsewhere, pixels);
    }

    template <typename Pointer>
    void locate_inputs(long tile, Pointer map, long channels, Pointer elsewhere, Pointer *pixels) const
    {
        locate(tile, taps_of(high) / 2, taps_of(wide) / 2, high, wide, map, channels, elsewhere, pixels);
    }

private:
    template <typename Pointer>
    void locate(long tile, int above, int before, int rows, int columns, Pointer map, long channels, Pointer elsewhere,
                Pointer *pixels) const
    {
        long image = tile / (down * across), place = tile % (down * across);
        long top = place / across * tall - above, left = place % across * broad - before;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                bool inside = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
                long pixel = (image * height + top + i) * width + left + j;
                pixels[i * columns + j] = inside ? map + pixel * channels : elsewhere;
            }
    }
};

// A tile of rows×columns pixels to its values at the places, `step` numbers from place to place.
template <int high, int wide, bool gradients>
static inline void transform_tile(const float *const *pixels, long channels, float *values, long step)
{
    constexpr int rows = gradients ? outputs_of(high) : high, columns = gradients ? outputs_of(wide) : wide;
    for (long chunk = 0; chunk < channels; chunk += LANES) {
        long channel = first_lane(chunk, channels);
        Lanes line[8], half[high * columns];
        for (int j = 0; j < columns; j++) {
            for (int i = 0; i < rows; i++) line[i] = load(pixels[i * columns + j] + channel);
            if constexpr (gradients) transform_gradients<high>(line, half + j, columns);
            else transform_inputs<high>(line, half + j, columns);
        }
        for (int i = 0; i < high; i++) {
            if constexpr (gradients) transform_gradients<wide>(half + i * columns, line, 1);
            else transform_inputs<wide>(half + i * columns, line, 1);
            for (int j = 0; j < wide; j++) store(values + (i * wide + j) * step + channel, line[j]);
        }
    }
}

// Calls `run` with the number of places of the kernel's lines, for a kernel of 3x3, 5x1, 1x5 or 1x1 taps.
template <typename Run> static inline void with_places(int rows, int columns, Run run)
{
    if (rows == 3) run(std::integral_constant<int, 6>(), std::integral_constant<int, 6>());
    else if (rows == 5) run(std::integral_constant<int, 8>(), std::integral_constant<int, 1>());
    else if (columns == 5) run(std::integral_constant<int, 1>(), std::integral_constant<int, 8>());
    else run(std::integral_constant<int, 1>(), std::integral_constant<int, 1>());
}
