// The exponential function, in a form that compilers turn into whole registers of them.

#pragma once

#include "numbers.h"

// To the last digit or two of single precision: 2 to the nearest whole power, times a polynomial of what is left.
static inline float exponential(float x)
{
    x = x < -87 ? -87 : x > 87 ? 87 : x;
    const float rounding = 12582912;  // 1.5 times 2 to the 23rd: a sum with it is whole, and ends in the number's bits
    const float sum = x * 1.44269504f + rounding, whole = sum - rounding;
    const float left = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float value = 1 / 5040.0f;
    value = value * left + 1 / 720.0f;
    value = value * left + 1 / 120.0f;
    value = value * left + 1 / 24.0f;
    value = value * left + 1 / 6.0f;
    value = value * left + 0.5f;
    value = value * left + 1;
    value = value * left + 1;
    return value * from_bits((bits_of(sum) + 127) << 23);
}
