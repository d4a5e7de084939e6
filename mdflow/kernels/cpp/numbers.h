// Numbers as maps hold them, in single precision or in bfloat16; what is computed with them is in single precision.

#pragma once

#include <cstdint>
#include <cstring>

struct Half {
    uint16_t bits;
};

static inline float from_bits(uint32_t bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of(float value)
{
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float single(float value) { return value; }
static inline float single(Half value) { return from_bits(uint32_t(value.bits) << 16); }

static inline void put(float &to, float value) { to = value; }
static inline void put(Half &to, float value)
{
    const uint32_t bits = bits_of(value);
    to.bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;  // to the nearest, of two the even one
}

// Where a number of a map is.
template <typename Number> static inline const Number *at(const void *map, long place)
{
    return static_cast<const Number *>(map) + place;
}
template <typename Number> static inline Number *at(void *map, long place) { return static_cast<Number *>(map) + place; }

// Calls `run` with a number of the kind that maps hold, or with one of each of two kinds.
template <typename Run> static inline void with_numbers(bool half, Run run)
{
    if (half) run(Half());
    else run(float());
}
template <typename Run> static inline void with_numbers(bool half1, bool half2, Run run)
{
    with_numbers(half1, [&](auto number1) { with_numbers(half2, [&](auto number2) { run(number1, number2); }); });
}
