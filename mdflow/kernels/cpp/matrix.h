// Products of tiles of 16-bit floats (bfloat16), summed in floats: by the processor's matrix unit (AMX), or, where it has
// none, number by number, so that what is built on them can be tested anywhere.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lanes.h"

typedef uint16_t Half;

constexpr int SIDE = 16;   // rows of a tile, and floats of a row of sums
constexpr int DEPTH = 32;  // halves of a row of a tile: what one product sums over

#ifdef __AMX_BF16__

#include <immintrin.h>

constexpr bool HAS_MATRIX_UNIT = true;

// Compilers do not know which memory the instructions for tiles read: all of it is to be written by now.
static inline void written() { asm volatile("" ::: "memory"); }

// Eight tiles of SIDE rows of 64 bytes, for as long as it lives; one for each thread.
struct MatrixUnit {
    MatrixUnit()
    {
        alignas(64) uint8_t shape[64] = {1};
        for (int tile = 0; tile < 8; tile++) {
            shape[16 + 2 * tile] = 64;
            shape[48 + tile] = SIDE;
        }
        written();
        _tile_loadconfig(shape);
    }
    ~MatrixUnit() { _tile_release(); }
};

// Sums, 32 rows of 32, of the products of pairs of tiles: 32 rows of values that start `step` halves apart, the first of
// each `offset` from its place, with packed weights; of one column of tiles or two, `column` apart. Tiles have numbers
// that the compiler must know.
template <bool two_columns>
static inline void multiply_tiles(const std::vector<const Half *> &values, long offset, long step, const Half *weights,
                                  long column, float *sums)
{
    constexpr long half = sizeof(Half), line = 2 * SIDE * sizeof(float);
    written();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (const Half *value : values) {
        _tile_loadd(4, value + offset, step * half);
        _tile_loadd(5, value + offset + SIDE * step, step * half);
        _tile_loadd(6, weights, DEPTH * half);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (two_columns) {
            _tile_loadd(7, weights + column, DEPTH * half);
            _tile_dpbf16ps(2, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
        weights += SIDE * DEPTH;
    }
    _tile_stored(0, sums, line);
    _tile_stored(1, sums + 2 * SIDE * SIDE, line);
    if (two_columns) {
        _tile_stored(2, sums + SIDE, line);
        _tile_stored(3, sums + 2 * SIDE * SIDE + SIDE, line);
    }
}

// Numbers, rounded: the first `count` of LANES, or all.
static inline void store_half(Half *to, Lanes values, long count)
{
    const __m256i halves = (__m256i)_mm512_cvtneps_pbh((__m512)values);
    if (count >= LANES)
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), halves);
    else
        _mm256_mask_storeu_epi16(to, (1u << count) - 1, halves);
}

// Halves of a line in another order: number i is order[i] of the line, which has DEPTH more.
class Order {
    struct Part {
        __m512i index;
        __mmask32 found;
    };
    long count, sources;
    std::vector<Part> parts;  // of each DEPTH results, what comes from each DEPTH of the line

  public:
    Order(const int *order, long count) : count(count), sources((count + DEPTH - 1) / DEPTH)
    {
        for (long start = 0; start < count; start += DEPTH)
            for (long source = 0; source < sources; source++) {
                uint16_t index[DEPTH] = {};
                uint32_t found = 0;
                for (long i = 0; i < std::min<long>(DEPTH, count - start); i++) {
                    index[i] = order[start + i] % DEPTH;
                    found |= uint32_t(order[start + i] / DEPTH == source) << i;
                }
                parts.push_back({_mm512_loadu_si512(index), found});
            }
    }

    void move(const Half *line, Half *to) const
    {
        const Part *part = parts.data();
        for (long start = 0; start < count; start += DEPTH) {
            __m512i values = _mm512_setzero_si512();
            for (long source = 0; source < sources; source++, part++)
                values = _mm512_mask_permutexvar_epi16(values, part->found, part->index,
                                                       _mm512_loadu_si512(line + source * DEPTH));
            _mm512_mask_storeu_epi16(to + start, count - start < DEPTH ? (1u << (count - start)) - 1 : ~0u, values);
        }
    }
};

#else

constexpr bool HAS_MATRIX_UNIT = false;

struct MatrixUnit {
    MatrixUnit() {}
};

static inline float widened(Half value)
{
    const uint32_t bits = uint32_t(value) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

template <bool two_columns>
static inline void multiply_tiles(const std::vector<const Half *> &values, long offset, long step, const Half *weights,
                                  long column, float *sums)
{
    for (int row = 0; row < 2 * SIDE; row++)
        for (int place = 0; place < (two_columns ? 2 : 1) * SIDE; place++) {
            const Half *tile = weights + place / SIDE * column + place % SIDE * 2;
            float sum = 0;
            for (const Half *value : values) {
                for (int k = 0; k < DEPTH; k++)
                    sum += widened(value[offset + row * step + k]) * widened(tile[k / 2 * DEPTH + k % 2]);
                tile += SIDE * DEPTH;
            }
            sums[row * 2 * SIDE + place] = sum;
        }
}

static inline void store_half(Half *to, Lanes values, long count)
{
    for (long i = 0; i < std::min<long>(LANES, count); i++) {
        const float value = values[i];
        uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        to[i] = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    }
}

struct Order {
    const int *order;
    long count;

    Order(const int *order, long count) : order(order), count(count) {}

    void move(const Half *line, Half *to) const
    {
        for (long i = 0; i < count; i++) to[i] = line[order[i]];
    }
};

#endif
