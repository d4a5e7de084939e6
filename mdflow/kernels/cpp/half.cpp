// Convolutions in bfloat16, one after the other, each with bias, LeakyReLU and a shuffle of channels, padded with zeros, on
// the matrix unit. Between two of them are only those rows that the next one looks at, in the cache. Channels are last, so
// the values under a row of a kernel lie in a line and tiles are read where they are.

#include "matrix.h"
#include "ring.h"

struct Layer {
    long inputs, outputs, groups, rows, columns, stride, padding_y, padding_x;  // rows and columns of the kernel
};

constexpr int NUMBERS = sizeof(Layer) / sizeof(long);

struct Link : Layer {
    const Half *weights;
    const float *bias;
    const int *order;  // or none
    float slope;       // of what is negative
    long height, width, new_height, new_width;

    Link(const long *numbers, const void *const *pointers, float slope, long height, long width)
        : Layer(*reinterpret_cast<const Layer *>(numbers)),
          weights(static_cast<const Half *>(pointers[0])),
          bias(static_cast<const float *>(pointers[1])),
          order(static_cast<const int *>(pointers[2])),
          slope(slope),
          height(height),
          width(width),
          new_height((height + 2 * padding_y - rows) / stride + 1),
          new_width((width + 2 * padding_x - columns) / stride + 1)
    {
    }

    long group_inputs() const { return inputs / groups; }
    long group_outputs() const { return outputs / groups; }
    long group_tiles() const { return (group_outputs() + SIDE - 1) / SIDE; }
    // Halves from pixel to pixel of the inputs: many channels fill whole cache lines.
    long step() const { return inputs < DEPTH ? inputs : (inputs + DEPTH - 1) / DEPTH * DEPTH; }
    // Of a row of inputs with zeros around them: where its pixels begin, and all that tiles of 2 * SIDE pixels may reach.
    long begin() const { return padding_x * step(); }
    long length() const { return ((width + 2 * padding_x + 2 * SIDE * stride) * step() / DEPTH + 2) * DEPTH; }
    // Products that a row of the kernel takes: over all channels of its pixels in a line, or over those of a group.
    long row_chunks() const { return (columns * (groups > 1 ? group_inputs() : step()) + DEPTH - 1) / DEPTH; }
    // Where the values of one of them begin.
    long place(long chunk) const
    {
        const long value = chunk * DEPTH;
        return groups > 1 ? value / group_inputs() * step() + value % group_inputs() : value;
    }
};

// Sums of one pixel to its result: bias, LeakyReLU, rounding.
static inline void finish(const float *sums, const float *bias, float slope, long count, Half *to)
{
    for (long i = 0; i < count; i += LANES) {
        const Lanes value = load(sums + i) + load(bias + i), nothing = {};
        store_half(to + i, value > nothing ? value : value * slope, count - i);
    }
}

// A row of outputs, its pixels `apart`; the order of its channels is still the convolution's own.
static void convolve_row(const Link &link, const std::vector<const Half *> &values, Half *row, long apart)
{
    alignas(64) float sums[2 * SIDE * 2 * SIDE];
    const long width = link.new_width, tiles = link.group_tiles(), column = values.size() * SIDE * DEPTH;
    const long step = link.stride * link.step();
    const float slope = link.slope;
    for (long group = 0; group < link.groups; group++)
        for (long tile = 0; tile < tiles; tile += 2) {
            const Packed packed{link.weights + (group * tiles + tile) * column, DEPTH, column};
            const long channel = group * link.group_outputs() + tile * SIDE;
            const long count = std::min<long>(2 * SIDE, link.group_outputs() - tile * SIDE);
            for (long x = 0; x < width; x += 2 * SIDE) {
                const long offset = x * step + group * link.group_inputs(), pixels = std::min<long>(2 * SIDE, width - x);
                if (tile + 1 < tiles)
                    multiply_tiles<true>(values, offset, step, packed, sums, 2 * SIDE);
                else
                    multiply_tiles<false>(values, offset, step, packed, sums, 2 * SIDE);
                Half *to = row + x * apart + channel;
                for (long pixel = 0; pixel < pixels; pixel++)
                    finish(sums + pixel * 2 * SIDE, link.bias + channel, slope, count, to + pixel * apart);
            }
        }
}

class Chain {
    const std::vector<Link> &links;
    const Half *images;
    std::vector<Ring<Half>> inputs;  // the rows that each link's kernel looks at
    std::vector<std::vector<const Half *>> values;
    std::vector<std::vector<Half>> disordered;
    std::vector<Order> orders;

  public:
    Chain(const std::vector<Link> &links, const Half *images) : links(links), images(images)
    {
        static thread_local std::vector<Half> kept;  // pages that are given back are cleared at the next use
        size_t room = DEPTH;
        for (const Link &link : links) {
            inputs.emplace_back(link.height, link.rows, link.length());
            room += inputs.back().size();
            values.emplace_back(link.rows * link.row_chunks());
            orders.emplace_back(link.order, link.order ? link.outputs : 0);
            disordered.emplace_back(link.order ? link.new_width * link.outputs + DEPTH : 0);
        }
        kept.resize(std::max(kept.size(), room));
        Half *memory = kept.data() + (64 - reinterpret_cast<uintptr_t>(kept.data()) % 64) / sizeof(Half);
        for (Ring<Half> &rows : inputs) {
            rows.settle(memory);
            memory += rows.size();
        }
    }

    // Row y of a link's outputs, its pixels `apart`.
    void compute(size_t number, long image, long y, Half *to, long apart)
    {
        const Link &link = links[number];
        const long chunks = link.row_chunks();
        for (size_t chunk = 0; chunk < values[number].size(); chunk++)
            values[number][chunk] =
                input(number, image, y * link.stride - link.padding_y + chunk / chunks) + link.place(chunk % chunks);
        if (!link.order) return convolve_row(link, values[number], to, apart);
        Half *before = disordered[number].data();
        convolve_row(link, values[number], before, link.outputs);
        for (long x = 0; x < link.new_width; x++) orders[number].move(before + x * link.outputs, to + x * apart);
    }

    const Half *input(size_t number, long image, long y)
    {
        const Link &link = links[number];
        return inputs[number].row(image, y, [&](Half *row) {
            Half *to = row + link.begin();
            const long step = link.step(), size = link.inputs, run = step == size ? link.width : 1;
            const Half *from = images + (image * link.height + y) * link.width * size;
            if (number) return compute(number - 1, image, y, to, step);
            for (long x = 0; x < link.width; x += run) std::copy_n(from + x * size, run * size, to + x * step);
        });
    }
};

// Whether the processor's own unit does it.
extern "C" int has_matrix_unit() { return HAS_MATRIX_UNIT; }

// images (batch, height, width, inputs) to results (batch, ..., outputs) by `count` links: NUMBERS numbers of each, a
// slope, and three pointers, to weights as mdflow/kernels/half.py packs them, the bias with SIDE more numbers, and which
// of the convolution's channels is each of the outputs, or none for all as they are. With several groups, each has a
// multiple of DEPTH inputs.
extern "C" void convolve_chain(const Half *images, const long *numbers, const void *const *pointers, const float *slopes,
                               Half *results, long batch, long height, long width, long count, int threads)
{
    std::vector<Link> links;
    for (long i = 0; i < count; i++) {
        links.emplace_back(numbers + i * NUMBERS, pointers + 3 * i, slopes[i], height, width);
        height = links[i].new_height;
        width = links[i].new_width;
    }
#pragma omp parallel num_threads(threads)
    {
        const MatrixUnit unit;
        Chain chain(links, images);
        const long outputs = links.back().outputs;
#pragma omp for schedule(static)
        for (long y = 0; y < batch * height; y++)
            chain.compute(count - 1, y / height, y % height, results + y * width * outputs, outputs);
    }
}
