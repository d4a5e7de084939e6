// The costs of windows.cpp from features in bfloat16, on the matrix unit: those of 32 neighbours with all pixels of image 2
// that their windows hold, column by column, are one product.

#include "matrix.h"
#include "windows.h"

constexpr long DOWN = 4, ACROSS = 8;      // the neighbours: two tiles of values, beside one another
constexpr long TOGETHER = DOWN * ACROSS;  // in the order of their tiles
constexpr long MARGIN = 2 * SIDE;         // pixels of zeros around image 2: as far as a product reaches
constexpr long WIDE = 2 * SIDE;           // columns of image 2 that neighbours share at most
constexpr long LINE = (WIDE + 1) * SIDE;  // room for products, so that those of neighbours do not fall on few sets

// Image 2 as tiles of weights want it: (batch, columns, pairs of channels, rows, 2), with a margin of zeros.
struct Columns {
    long height, width, channels;

    long rows() const { return height + 2 * MARGIN; }
    long column() const { return rows() * channels; }
    long image() const { return (width + 2 * MARGIN) * column(); }
    long place(long x, long y) const { return (x + MARGIN) * column() + (y + MARGIN) * 2; }
};

// Halves (batch, height, width, channels) to `columns`, which holds zeros.
extern "C" void pack_columns(const Half *map, Half *columns, long batch, long height, long width, long channels,
                             int threads)
{
    const Columns packed{height, width, channels};
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (long image = 0; image < batch; image++)
        for (long x = 0; x < width; x++)
            for (long first = 0; first < height; first += SIDE)  // rows that are read again from the cache
                for (long channel = 0; channel < channels; channel += 2) {
                    const Half *from = map + (image * height * width + x) * channels + channel;
                    Half *to = columns + image * packed.image() + packed.place(x, 0) + channel * packed.rows();
                    for (long y = first; y < std::min(height, first + SIDE); y++)
                        std::copy_n(from + y * width * channels, 2, to + 2 * y);
                }
}

// Neighbours that look into one box of a level, and the box.
struct Group {
    std::vector<int> members;
    Box box;
};

// Of the neighbours that are left those, taken from them, whose windows fit into a box SIDE pixels high.
static Group take_group(std::vector<int> &left, const Window *windows)
{
    Group group;
    long top = windows[left[0]].box.top, first = windows[left[0]].box.left;
    for (int one : left) top = std::min(top, windows[one].box.top);
    const auto fits = [&](const Box &box) { return box.top + box.high <= top + SIDE; };
    bool found = false;
    for (int one : left)
        if (fits(windows[one].box)) {
            first = found ? std::min(first, windows[one].box.left) : windows[one].box.left;
            found = true;
        }
    std::vector<int> others;
    long end = first;
    for (int one : left) {
        const Box &box = windows[one].box;
        const bool taken = fits(box) && box.left + box.wide <= first + WIDE;
        (taken ? group.members : others).push_back(one);
        if (taken) end = std::max(end, box.left + box.wide);
    }
    left = others;
    group.box = {first, top, end - first, SIDE};
    return group;
}

constexpr float nothing[SIDE * SIDE + 2 * LANES] = {};  // the products of a window outside

// What is asked of one level.
struct Lookup {
    Sizes sizes;
    const Half *queries, *columns;
    const float *points;
    float *costs;
    long radius, total;
    float step;

    // The costs of the neighbours around pixel (x, y) of an image; `values`: their queries.
    void find(long image, long y, long x, const std::vector<const Half *> &values, float *products) const
    {
        Window windows[TOGETHER];
        long pixels[TOGETHER];
        std::vector<int> left;
        for (int i = 0; i < TOGETHER; i++) {
            const long across = x + i / SIDE * DOWN + i % DOWN, down = y + i % SIDE / DOWN;
            if (across >= sizes.width || down >= sizes.height) continue;
            pixels[i] = (image * sizes.height + down) * sizes.width + across;
            windows[i] = Window(sizes, pixels[i], points, step, radius);
            if (windows[i].box.meets(sizes)) left.push_back(i);
            else interpolate(windows[i], windows[i].box, nothing, costs + pixels[i] * total);
        }
        const Columns packed{sizes.height2, sizes.width2, sizes.channels};
        while (!left.empty()) {
            const Group group = take_group(left, windows);
            const Half *weights = columns + image * packed.image() + packed.place(group.box.left, group.box.top);
            for (long column = 0; column < group.box.wide; column += 2)
                multiply_tiles<true>(values, 0, sizes.channels,
                                     {weights + column * packed.column(), 2 * packed.rows(), packed.column()},
                                     products + column * SIDE, LINE);
            for (int one : group.members)
                interpolate(windows[one], group.box, products + one * LINE, costs + pixels[one] * total);
        }
    }
};

// As window_costs, of queries (batch, rows of groups, groups, TOGETHER, channels) with `columns` of pack_columns.
extern "C" void half_window_costs(const Half *queries, const Half *columns, const float *points, float *costs, long batch,
                                  long height, long width, long height2, long width2, long channels, long radius,
                                  long total, float step, int threads)
{
    const Lookup lookup{{batch, height, width, height2, width2, channels}, queries, columns, points, costs, radius, total,
                        step};
    const long rows = (height + DOWN - 1) / DOWN, groups = (width + ACROSS - 1) / ACROSS;
#pragma omp parallel num_threads(threads)
    {
        const MatrixUnit unit;
        static thread_local std::vector<float> products;
        products.resize(TOGETHER * LINE);
        std::vector<const Half *> values(channels / DEPTH);
#pragma omp for schedule(static)
        for (long row = 0; row < batch * rows; row++)
            for (long group = 0; group < groups; group++) {
                for (size_t chunk = 0; chunk < values.size(); chunk++)
                    values[chunk] = queries + (row * groups + group) * TOGETHER * channels + chunk * DEPTH;
                lookup.find(row / rows, row % rows * DOWN, group * ACROSS, values, products.data());
            }
    }
}
