// Windows of pixels of image 2, around the matches of those of image 1, and the bilinear values between their pixels.

#pragma once

#include <algorithm>
#include <cmath>

#include "lanes.h"

constexpr int WIDEST = 2 * 8 + 2;             // pixels of image 2 across, of the widest window
constexpr int LARGEST = 2 * WIDEST * WIDEST;  // pixels of the largest box

struct Sizes {
    long batch, height, width, height2, width2, channels;  // maps of image 1, and of image 2

    long size2() const { return height2 * width2 * channels; }
};

// A rectangle of whole pixels of image 2. Its pixels are in the order of the values: one column after the other.
struct Box {
    long left, top, wide, high;

    long count() const { return wide * high; }

    bool meets(const Sizes &sizes) const
    {
        return left < sizes.width2 && top < sizes.height2 && left + wide > 0 && top + high > 0;
    }

    // Where its pixels are in a map, or `outside`.
    template <typename Pointer> void locate(const Sizes &sizes, Pointer map, Pointer outside, Pointer *pixels) const
    {
        const bool whole = left >= 0 && top >= 0 && left + wide <= sizes.width2 && top + high <= sizes.height2;
        const long down = sizes.width2 * sizes.channels;
        for (long i = left; i < left + wide; i++, pixels += high) {
            Pointer pixel = map + top * down + i * sizes.channels;
            const bool within = i >= 0 && i < sizes.width2;
            for (long j = 0; j < high; j++, pixel += down)
                pixels[j] = whole || (within && top + j >= 0 && top + j < sizes.height2) ? pixel : outside;
        }
    }
};

// The smallest that holds both.
static inline Box united(const Box &one, const Box &other)
{
    const long left = std::min(one.left, other.left), top = std::min(one.top, other.top);
    return {left, top, std::max(one.left + one.wide, other.left + other.wide) - left,
            std::max(one.top + one.high, other.top + other.high) - top};
}

// The pixels under one window, and how far right of them and below its values are, of a pixel.
struct Window {
    Box box;
    float right, below;

    Window() {}

    // `points`: the pixels' matches, x and then y; times `step` in pixels of image 2.
    Window(const Sizes &sizes, long pixel, const float *points, float step, long radius)
    {
        const long plane = sizes.height * sizes.width;
        const float *point = points + pixel / plane * plane + pixel;
        const float x = point[0] * step, y = point[plane] * step, first_x = std::floor(x), first_y = std::floor(y);
        right = x - first_x;
        below = y - first_y;
        box = {whole(first_x, sizes.width2) - radius, whole(first_y, sizes.height2) - radius, 2 * radius + 2,
               2 * radius + 2};
    }

private:
    // A place far outside, or nowhere, as one that is just as empty.
    static long whole(float place, long size)
    {
        return std::isfinite(place) ? long(std::max(-2.0f * WIDEST, std::min(place, size + 2.0f * WIDEST)))
                                    : -2 * WIDEST;
    }
};

// The values of a window, from the products of a box that holds its pixels.
static inline void interpolate(const Window &window, const Box &box, const float *products, float *costs)
{
    const long values = window.box.high - 1, filled = (values + LANES - 1) / LANES * LANES;
    const float right = window.right, left = 1 - right, below = window.below, above = 1 - below;
    const float *pixels = products + (window.box.left - box.left) * box.high + window.box.top - box.top;
    for (long i = 0; i < values; i++) {
        // What a line has too much, the next one replaces; but it may not go beyond the window.
        float apart[WIDEST + LANES], *line = i * values + filled <= values * values ? costs + i * values : apart;
        for (long j = 0; j < values; j += LANES) {
            const float *here = pixels + i * box.high + j, *next = here + box.high;
            Lanes upper = left * load(here) + right * load(next), lower = left * load(here + 1) + right * load(next + 1);
            store(line + j, above * upper + below * lower);
        }
        if (line == apart) std::copy_n(apart, values, costs + i * values);
    }
}
