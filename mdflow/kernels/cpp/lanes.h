// As many numbers as a register of the processor holds, and what is done with them.

#pragma once

#include <utility>

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif

constexpr int PIECE = 32;  // channels that the gradients of costs take at once, on every processor

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float LooseLanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

static inline Lanes load(const float *from) { return *reinterpret_cast<const LooseLanes *>(from); }
static inline void store(float *to, Lanes values) { *reinterpret_cast<LooseLanes *>(to) = values; }

#ifdef __clang__
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int Places __attribute__((vector_size(LANES * sizeof(int))));
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, Places{__VA_ARGS__})
#endif

// Of registers a and b the lanes without `step` in their number, b's in the places between, and those with it.
template <int step, int... lane> static inline Lanes without(Lanes a, Lanes b, std::integer_sequence<int, lane...>)
{
    return SHUFFLED(a, b, (lane & step ? LANES + lane - step : lane)...);
}
template <int step, int... lane> static inline Lanes with(Lanes a, Lanes b, std::integer_sequence<int, lane...>)
{
    return SHUFFLED(a, b, (lane & step ? LANES + lane : lane + step)...);
}

constexpr auto EVERY_LANE = std::make_integer_sequence<int, LANES>();

// The sum over each of LANES registers, in one; they are used up.
template <int step = 1> static inline Lanes summed(Lanes *registers)
{
    if constexpr (step == LANES) {
        return registers[0];
    } else {
        for (int i = 0; i < LANES / step; i += 2) {
            const Lanes a = registers[i], b = registers[i + 1];
            registers[i / 2] = without<step>(a, b, EVERY_LANE) + with<step>(a, b, EVERY_LANE);
        }
        return summed<2 * step>(registers);
    }
}

// Lane i of register j of LANES ones to lane j of register i.
template <int step = 1> static inline void transpose(Lanes *registers)
{
    if constexpr (step < LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++)
            if (!(i & step)) {
                const Lanes a = registers[i], b = registers[i + step];
                registers[i] = without<step>(a, b, EVERY_LANE);
                registers[i + step] = with<step>(a, b, EVERY_LANE);
            }
        transpose<2 * step>(registers);
    }
}
