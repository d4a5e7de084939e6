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

// Sums of neighbours `step` apart, those of a and those of b in turn.
template <int step, int... lane> static inline Lanes neighbours(Lanes a, Lanes b, std::integer_sequence<int, lane...>)
{
    return SHUFFLED(a, b, (lane & step ? LANES + lane - step : lane)...) +
           SHUFFLED(a, b, (lane & step ? LANES + lane : lane + step)...);
}

// The sum over each of LANES registers, in one; they are used up.
template <int step = 1> static inline Lanes summed(Lanes *registers)
{
    if constexpr (step == LANES) {
        return registers[0];
    } else {
        for (int i = 0; i < LANES / step; i += 2)
            registers[i / 2] = neighbours<step>(registers[i], registers[i + 1], std::make_integer_sequence<int, LANES>());
        return summed<2 * step>(registers);
    }
}
