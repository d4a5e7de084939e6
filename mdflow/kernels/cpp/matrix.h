// Products of tiles of 16-bit floats (bfloat16), summed in floats: by the processor's matrix unit (AMX), or, where it has
// none, number by number, so that what is built on them can be tested anywhere.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lanes.h"
#include "numbers.h"

constexpr int SIDE = 16;   // rows of a tile, and floats of a row of sums
constexpr int DEPTH = 32;  // halves of a row of a tile: what one product sums over

// Weights: for each chunk of DEPTH values a tile, one behind the other, of which a row holds SIDE pairs of values.
struct Packed {
    const Half *weights;
    long row, column;  // halves from row to row of a tile, and to the tiles beside
};

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

// Sums, 32 rows of 32 that are `line` numbers apart, of the products of pairs of tiles: 32 rows of values that start `step`
// halves apart, the first of each `offset` from its place, with packed weights; of one column of tiles or two. Tiles have
// numbers that the compiler must know.
template <bool two_columns>
static inline void multiply_tiles(const std::vector<const Half *> &values, long offset, long step, const Packed &packed,
                                  float *sums, long line)
{
    constexpr long half = sizeof(Half), full = sizeof(float);
    const Half *weights = packed.weights;
    written();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (const Half *value : values) {
        _tile_loadd(4, value + offset, step * half);
        _tile_loadd(5, value + offset + SIDE * step, step * half);
        _tile_loadd(6, weights, packed.row * half);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (two_columns) {
            _tile_loadd(7, weights + packed.column, packed.row * half);
            _tile_dpbf16ps(2, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
        weights += SIDE * packed.row;
    }
    _tile_stored(0, sums, line * full);
    _tile_stored(1, sums + SIDE * line, line * full);
    if (two_columns) {
        _tile_stored(2, sums + SIDE, line * full);
        _tile_stored(3, sums + SIDE * line + SIDE, line * full);
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

template <bool two_columns>
static inline void multiply_tiles(const std::vector<const Half *> &values, long offset, long step, const Packed &packed,
                                  float *sums, long line)
{
    for (int row = 0; row < 2 * SIDE; row++)
        for (int place = 0; place < (two_columns ? 2 : 1) * SIDE; place++) {
            const Half *tile = packed.weights + place / SIDE * packed.column + place % SIDE * 2;
            float sum = 0;
            for (const Half *value : values) {
                for (int k = 0; k < DEPTH; k++)
                    sum += single(value[offset + row * step + k]) * single(tile[k / 2 * packed.row + k % 2]);
                tile += SIDE * packed.row;
            }
            sums[row * line + place] = sum;
        }
}

static inline void store_half(Half *to, Lanes values, long count)
{
    for (long i = 0; i < std::min<long>(LANES, count); i++) put(to[i], values[i]);
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
