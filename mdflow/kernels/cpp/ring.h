// The last few rows of maps that lie one after another.

#pragma once

#include <algorithm>
#include <vector>

// A place for each of `count` rows that follow each other, and one of zeros for rows outside of a map.
template <typename Number> class Ring {
    const long height, count, length;  // of a map; places; numbers of a place
    std::vector<long> held;            // which row of all maps is where
    Number *memory = nullptr;

  public:
    Ring(long height, long count, long length) : height(height), count(count), length(length), held(count, -1) {}

    long size() const { return (count + 1) * length; }

    // Takes this memory, with zeros in it.
    void settle(Number *given)
    {
        memory = given;
        std::fill_n(memory, size(), Number());
    }

    // The place of row y of a map, which `make` writes there unless it is there.
    template <typename Make> const Number *row(long map, long y, Make make)
    {
        if (y < 0 || y >= height) return memory + count * length;
        const long number = map * height + y, place = y % count;
        if (held[place] != number) make(memory + place * length);
        held[place] = number;
        return memory + place * length;
    }
};
