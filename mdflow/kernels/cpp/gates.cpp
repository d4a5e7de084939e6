// What a convolutional gated recurrent unit does between its convolutions, on maps (pixels, channels).

#include <algorithm>

#include "exponential.h"
#include "numbers.h"

constexpr long BLOCK = 64;  // pixels

static inline float sigmoid(float x) { return 1 / (1 + exponential(-x)); }
static inline float hyperbolic_tangent(float x) { return 1 - 2 / (1 + exponential(2 * x)); }

template <typename Number, typename State>
static void open_gates(const Number *gates, const Number *share, const State *hidden, const Number *inputs,
                       Number *__restrict update, Number *__restrict joint, long pixels, long channels, long more)
{
    for (long pixel = 0; pixel < pixels; pixel++) {
        for (long i = 0; i < channels; i++) put(update[i], sigmoid(single(gates[i]) + single(share[i])));
        for (long i = 0; i < channels; i++)
            put(joint[i], sigmoid(single(gates[channels + i]) + single(share[channels + i])) * single(hidden[i]));
        std::copy(inputs, inputs + more, joint + channels);
        gates += 2 * channels, share += 3 * channels, hidden += channels, inputs += more;
        update += channels, joint += channels + more;
    }
}

template <typename Number, typename State>
static void blend(const Number *candidate, const Number *share, const Number *update, const State *hidden,
                  State *__restrict next, long pixels, long channels)
{
    for (long pixel = 0; pixel < pixels; pixel++) {
        for (long i = 0; i < channels; i++) {
            const float before = single(hidden[i]);
            const float wanted = hyperbolic_tangent(single(candidate[i]) + single(share[2 * channels + i]));
            put(next[i], before + single(update[i]) * (wanted - before));
        }
        candidate += channels, share += 3 * channels, update += channels, hidden += channels, next += channels;
    }
}

// Calls `run` with a number of the kind of the maps, one of the kind of the hidden state, and where each block of pixels
// starts and how long it is.
template <typename Run> static void with_blocks(long pixels, bool half, bool half_state, int threads, Run run)
{
    with_numbers(half, half_state, [&](auto number, auto state) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (long start = 0; start < pixels; start += BLOCK) run(number, state, start, std::min(BLOCK, pixels - start));
    });
}

// The gates (2 * channels, update and reset) with the context's share (3 * channels), opened: the update, and what the
// candidate is made of, the hidden state behind the reset joined with `more` channels of inputs.
extern "C" void unit_gates(const void *gates, const void *share, const void *hidden, const void *inputs, void *update,
                           void *joint, long pixels, long channels, long more, int half, int half_state, int threads)
{
    with_blocks(pixels, half, half_state, threads, [&](auto number, auto state, long start, long count) {
        typedef decltype(number) Number;
        const long place = start * channels;
        open_gates(at<Number>(gates, 2 * place), at<Number>(share, 3 * place), at<decltype(state)>(hidden, place),
                   at<Number>(inputs, start * more), at<Number>(update, place),
                   at<Number>(joint, start * (channels + more)), count, channels, more);
    });
}

// The next hidden state: as far as the update says from the one before to the candidate with the context's share.
extern "C" void unit_state(const void *candidate, const void *share, const void *update, const void *hidden, void *next,
                           long pixels, long channels, int half, int half_state, int threads)
{
    with_blocks(pixels, half, half_state, threads, [&](auto number, auto state, long start, long count) {
        typedef decltype(number) Number;
        typedef decltype(state) State;
        const long place = start * channels;
        blend(at<Number>(candidate, place), at<Number>(share, 3 * place), at<Number>(update, place),
              at<State>(hidden, place), at<State>(next, place), count, channels);
    });
}
