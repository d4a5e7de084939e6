// Lines of four outputs by minimal filtering (Winograd; Lavin & Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016): products at as many places as the line has inputs, six for three taps and eight for five. The
// places are the points 0, 1, -1, 2, -1/2 and infinity for three taps, and for five 0, 1, -1, 2, -2, 1/2, -1/2 and
// infinity. One place is a direction in which there is nothing to filter.

#pragma once

#include "lanes.h"

constexpr int ROWS = LANES == 16 ? 12 : 6;  // as many sums as registers hold
constexpr int PANEL = 2 * LANES;            // what is summed at once: ROWS by PANEL
constexpr int TILE = 4;                     // outputs of a line

constexpr int outputs_of(int places) { return places == 1 ? 1 : TILE; }
constexpr int taps_of(int places) { return places - outputs_of(places) + 1; }

// The values at a point and at its negative, from the even and the odd part of a polynomial.
static inline void at_both(Lanes even, Lanes odd, Lanes *value, int step)
{
    value[0] = even + odd;
    value[step] = even - odd;
}

// A line of inputs to its values at the places, `step` apart.
template <int places> static inline void transform_inputs(const Lanes *x, Lanes *value, int step)
{
    if constexpr (places == 1) {
        value[0] = x[0];
    } else if constexpr (places == 6) {
        Lanes inner = x[4] - x[2], outer = x[3] - x[1];
        value[0] = x[0] + x[4] - 2.0f * x[2] - 1.5f * outer;
        value[step] = x[4] - x[1] - 2.5f * x[2] - 0.5f * x[3];
        value[2 * step] = x[4] + x[1] + 0.5f * x[2] - 2.5f * x[3];
        value[3 * step] = inner + 0.5f * outer;
        value[4 * step] = inner - 2.0f * outer;
        value[5 * step] = x[5] + x[1] - 2.0f * x[3] - 1.5f * inner;
    } else {
        Lanes even1 = x[6] + x[2] - 4.25f * x[4], odd1 = x[5] + x[1] - 4.25f * x[3];
        Lanes even2 = x[6] + 0.25f * x[2] - 1.25f * x[4], odd2 = 2.0f * x[5] + 0.5f * x[1] - 2.5f * x[3];
        Lanes even3 = x[6] + 4.0f * x[2] - 5.0f * x[4], odd3 = 0.5f * x[5] + 2.0f * x[1] - 2.5f * x[3];
        value[0] = x[6] - x[0] + 5.25f * (x[2] - x[4]);
        at_both(even1, odd1, value + step, step);
        at_both(even2, odd2, value + 3 * step, step);
        at_both(even3, odd3, value + 5 * step, step);
        value[7 * step] = x[7] - x[1] + 5.25f * (x[3] - x[5]);
    }
}

// Products at the places to a line of outputs.
template <int places> static inline void restore_outputs(const Lanes *p, Lanes *y, int step)
{
    if constexpr (places == 1) {
        y[0] = p[0];
    } else if constexpr (places == 6) {
        Lanes sum = p[1] + p[2], difference = p[1] - p[2];
        y[0] = p[0] + sum + p[3] + p[4];
        y[step] = difference + 2.0f * p[3] - 0.5f * p[4];
        y[2 * step] = sum + 4.0f * p[3] + 0.25f * p[4];
        y[3 * step] = difference + 8.0f * p[3] - 0.125f * p[4] + p[5];
    } else {
        Lanes sum1 = p[1] + p[2], sum2 = p[3] + p[4], sum3 = p[5] + p[6];
        Lanes difference1 = p[1] - p[2], difference2 = p[3] - p[4], difference3 = p[5] - p[6];
        y[0] = p[0] + sum1 + sum2 + sum3;
        y[step] = difference1 + 2.0f * difference2 + 0.5f * difference3;
        y[2 * step] = sum1 + 4.0f * sum2 + 0.25f * sum3;
        y[3 * step] = difference1 + 8.0f * difference2 + 0.125f * difference3 + p[7];
    }
}

// A line of the outputs' gradients to those of the products: the transpose of restore_outputs.
template <int places> static inline void transform_gradients(const Lanes *g, Lanes *value, int step)
{
    if constexpr (places == 1) {
        value[0] = g[0];
    } else {
        Lanes even1 = g[0] + g[2], odd1 = g[1] + g[3];
        Lanes even2 = g[0] + 4.0f * g[2], odd2 = 2.0f * g[1] + 8.0f * g[3];
        Lanes even3 = g[0] + 0.25f * g[2], odd3 = 0.5f * g[1] + 0.125f * g[3];
        value[0] = g[0];
        at_both(even1, odd1, value + step, step);
        value[3 * step] = even2 + odd2;
        value[(places == 6 ? 4 : 6) * step] = even3 - odd3;
        value[(places - 1) * step] = g[3];
        if constexpr (places == 8) {
            value[4 * step] = even2 - odd2;
            value[5 * step] = even3 + odd3;
        }
    }
}

// A kernel's taps to its values at the places: the polynomial of the taps there, over Lagrange's denominators.
template <int places> static inline void transform_taps(const Lanes *w, Lanes *value, int step)
{
    if constexpr (places == 1) {
        value[0] = w[0];
    } else if constexpr (places == 6) {
        Lanes even = (w[0] + w[2]) * (1 / 3.0f), odd = w[1] * (1 / 3.0f);
        value[0] = w[0];
        value[step] = -even - odd;
        value[2 * step] = even - odd;
        value[3 * step] = (w[0] + 2.0f * w[1] + 4.0f * w[2]) * (1 / 15.0f);
        value[4 * step] = (0.5f * w[1] - w[0] - 0.25f * w[2]) * (16 / 15.0f);
        value[5 * step] = w[2];
    } else {
        Lanes even1 = (w[0] + w[2] + w[4]) * (-2 / 9.0f), odd1 = (w[1] + w[3]) * (-2 / 9.0f);
        Lanes even2 = (w[0] + 4.0f * w[2] + 16.0f * w[4]) * (1 / 90.0f), odd2 = (w[1] + 4.0f * w[3]) * (1 / 45.0f);
        Lanes even3 = (16.0f * w[0] + 4.0f * w[2] + w[4]) * (2 / 45.0f), odd3 = (4.0f * w[1] + w[3]) * (4 / 45.0f);
        value[0] = -w[0];
        at_both(even1, odd1, value + step, step);
        at_both(even2, odd2, value + 3 * step, step);
        at_both(even3, odd3, value + 5 * step, step);
        value[7 * step] = w[4];
    }
}

// The transpose of transform_taps: gradients of the values to those of the taps.
template <int places> static inline void restore_taps(const Lanes *v, Lanes *w, int step)
{
    if constexpr (places == 1) {
        w[0] = v[0];
    } else if constexpr (places == 6) {
        Lanes sum = (v[2] - v[1]) * (1 / 3.0f), difference = (v[1] + v[2]) * (-1 / 3.0f);
        Lanes twice = v[3] * (1 / 15.0f), half = v[4] * (-16 / 15.0f);
        w[0] = v[0] + sum + twice + half;
        w[step] = difference + 2.0f * twice - 0.5f * half;
        w[2 * step] = sum + 4.0f * twice + 0.25f * half + v[5];
    } else {
        Lanes sum1 = (v[1] + v[2]) * (-2 / 9.0f), difference1 = (v[1] - v[2]) * (-2 / 9.0f);
        Lanes sum2 = (v[3] + v[4]) * (1 / 90.0f), difference2 = (v[3] - v[4]) * (1 / 90.0f);
        Lanes sum3 = (v[5] + v[6]) * (32 / 45.0f), difference3 = (v[5] - v[6]) * (32 / 45.0f);
        w[0] = sum1 + sum2 + sum3 - v[0];
        w[step] = difference1 + 2.0f * difference2 + 0.5f * difference3;
        w[2 * step] = sum1 + 4.0f * sum2 + 0.25f * sum3;
        w[3 * step] = difference1 + 8.0f * difference2 + 0.125f * difference3;
        w[4 * step] = sum1 + 16.0f * sum2 + 0.0625f * sum3 + v[7];
    }
}
