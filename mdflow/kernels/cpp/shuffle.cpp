// The shuffle of channels that are last in memory.

// Pixels of `parts` times `size` numbers: number i of part p to place i·parts + p. A known number makes the loop short.
template <int known_parts, int known_size>
static void shuffle(const float *x, float *y, long pixels, long parts, long size, int threads)
{
    if (known_parts) parts = known_parts;
    if (known_size) size = known_size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long pixel = 0; pixel < pixels; pixel++) {
        const float *from = x + pixel * parts * size;
        float *to = y + pixel * parts * size;
        for (long i = 0; i < size; i++)
            for (long part = 0; part < parts; part++) to[i * parts + part] = from[part * size + i];
    }
}

extern "C" void shuffle_channels(const float *x, float *y, long pixels, long parts, long size, int threads)
{
    if (parts == 3) shuffle<3, 0>(x, y, pixels, parts, size, threads);
    else if (size == 3) shuffle<0, 3>(x, y, pixels, parts, size, threads);
    else shuffle<0, 0>(x, y, pixels, parts, size, threads);
}
