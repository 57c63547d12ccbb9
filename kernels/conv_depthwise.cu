// Convolution in which every channel is a group of its own: output channel o sees channel o / (O / C) alone. Bound by
// memory, at one product per tap and output: forward reads x and writes y, the input gradient reads gy and writes gx, the
// gradient of the weights reads gy and x.
// Activations are channels-last (N, D, H, W, C), weights (O, KD, KH, KW).
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "window.cuh"
#include "slab.cuh"

// Forward makes y from x, the input gradient gx from gy: pixels of `made` channels from pixels of `read` channels.
template <bool FORWARD>
struct Sides {
    const Window& g;
    const int (&made_size)[3];
    const int (&read_size)[3];
    int made, read, multiplier, per_tap;  // a channel that is made takes per_tap channels through each tap
    __device__ Sides(const Window& g)
        : g(g),
          made_size(FORWARD ? g.out_size : g.in_size),
          read_size(FORWARD ? g.in_size : g.out_size),
          made(FORWARD ? g.outputs : g.channels),
          read(FORWARD ? g.channels : g.outputs),
          multiplier(g.outputs / g.channels),
          per_tap(FORWARD ? 1 : multiplier) {}

    // The number-th channel that channel `made` takes, and the output channel whose weights it meets.
    __device__ int channel(int made, int number) const { return FORWARD ? made / multiplier : filter(made, number); }
    __device__ int filter(int made, int number) const { return made * per_tap + number; }

    // Where a pixel at `at` of an axis reads through a tap; beyond the last pixel if nowhere.
    __device__ unsigned position(int axis, int at, int tap) const {
        int stride = g.stride[axis];
        if (FORWARD) return (unsigned)at * stride - g.padding[axis] + tap * g.dilation[axis];
        int start = at + g.padding[axis] - tap * g.dilation[axis];
        if (stride == 1) return start;  // saves the time of divisions
        return start >= 0 && start % stride == 0 ? start / stride : ~0u;
    }
};

// Values at a pixel for PER_VECTOR channels of `wanted` from `first` on, each in channel_of(its number) of `channels`;
// those beyond the last are undefined.
template <class Channel>
__device__ __forceinline__ Vector<REAL> load_channels(
    const REAL* in, long long pixel, int channels, int first, int wanted, const Channel& channel_of) {
    in += pixel * channels;
    if (channels == wanted) return load_vector(in + first, wanted - first);
    Vector<REAL> values;
#pragma unroll
    for (int n = 0; n < PER_VECTOR; ++n) {
        if (first + n < wanted) values.at[n] = in[channel_of(first + n)];
    }
    return values;
}

// A block of (vectors of channels, lanes) makes a slab of strips. Its weights stay in shared memory, a row for each
// product that an output takes, and a last row for the bias.
template <bool FORWARD>
__device__ __forceinline__ void make_slab(
    REAL* out, const REAL* in, const REAL* w, const REAL* bias_or_null, const Window& g, int per_slab, ACC* rows) {
    Sides<FORWARD> sides(g);
    int depth = taps(g) * sides.per_tap, width = blockDim.x * PER_VECTOR;
    for (int e = threadIdx.y * blockDim.x + threadIdx.x; e < width * (depth + 1); e += blockDim.x * blockDim.y) {
        int row = e / width, made = blockIdx.y * width + e % width;
        ACC value = 0;
        if (made < sides.made) {
            int tap = row / sides.per_tap, filter = sides.filter(made, row % sides.per_tap);
            if (row < depth) value = w[(long long)filter * taps(g) + tap];
            else if (bias_or_null) value = bias_or_null[made];
        }
        rows[e] = value;
    }
    __syncthreads();  // the weights are complete

    const int(&read_size)[3] = sides.read_size;
    int in_block = threadIdx.x * PER_VECTOR, made = blockIdx.y * width + in_block;
    each_strip(g.batch, sides.made_size, per_slab, [&](const Pixel& pixel) {
        ACC sum[COLUMNS][PER_VECTOR];
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) {
#pragma unroll
            for (int n = 0; n < PER_VECTOR; ++n) sum[q][n] = rows[depth * width + in_block + n];
        }
        for (int i = 0; i < g.window[0]; ++i) {
            unsigned slice = sides.position(0, pixel.at[0], i);
            for (int j = 0; j < g.window[1]; ++j) {
                unsigned row = sides.position(1, pixel.at[1], j);
                if (slice >= read_size[0] || row >= read_size[1]) continue;
                unsigned first = ((pixel.n * read_size[0] + slice) * read_size[1] + row) * read_size[2];
                for (int k = 0; k < g.window[2]; ++k) {
                    const ACC* weights = rows + ((i * g.window[1] + j) * g.window[2] + k) * sides.per_tap * width + in_block;
                    for (int number = 0; number < sides.per_tap; ++number, weights += width) {
#pragma unroll
                        for (int q = 0; q < COLUMNS; ++q) {
                            unsigned column = sides.position(2, pixel.at[2] + q, k);
                            if (column >= read_size[2]) continue;
                            Vector<REAL> values = load_channels(in, first + column, sides.read, made, sides.made,
                                [&](int channel) { return sides.channel(channel, number); });
#pragma unroll
                            for (int n = 0; n < PER_VECTOR; ++n) sum[q][n] += (ACC)values.at[n] * weights[n];
                        }
                    }
                }
            }
        }
        long long to = index_of(pixel, sides.made_size);
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) {
            if (pixel.at[2] + q >= sides.made_size[2]) break;
            Vector<REAL> values;
#pragma unroll
            for (int n = 0; n < PER_VECTOR; ++n) values.at[n] = sum[q][n];
            store_vector(out + (to + q) * sides.made + made, values, sides.made - made);
        }
    });
}

extern "C" __global__ void __launch_bounds__(256, 1) depthwise_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, Window g, int per_slab) {
    extern __shared__ __align__(16) ACC rows[];
    make_slab<true>(y, x, w, bias_or_null, g, per_slab, rows);
}

// With a bias it is the forward of transposed convolution.
extern "C" __global__ void __launch_bounds__(256, 1) depthwise_backward_input(
    REAL* gx, const REAL* gy, const REAL* w, const REAL* bias_or_null, Window g, int per_slab) {
    extern __shared__ __align__(16) ACC rows[];
    make_slab<false>(gx, gy, w, bias_or_null, g, per_slab, rows);
}

extern "C" __global__ void __launch_bounds__(256, 1) depthwise_backward_weight(
    ACC* partials, const REAL* gy, const REAL* x, Window g, int per_slab) {
    extern __shared__ __align__(16) ACC scratch[];
    Slab slab(g, per_slab);
    Sides<true> sides(g);
    int first_tap[3];
    tap_position(slab.weight, g.window, first_tap);
    Sums sum = {};
    for (int p = slab.begin + threadIdx.y; p < slab.end; p += blockDim.y) {
        Pixel out = pixel_of(p, g.out_size);
        Vector<REAL> gradient = load_gradient(gy, p, slab, g);
        int tap[3] = {first_tap[0], first_tap[1], first_tap[2]};
#pragma unroll
        for (int i = 0; i < WEIGHTS; ++i) {
            unsigned at[3];
#pragma unroll
            for (int axis = 0; axis < 3; ++axis) at[axis] = sides.position(axis, out.at[axis], tap[axis]);
            if (at[0] < g.in_size[0] && at[1] < g.in_size[1] && at[2] < g.in_size[2]) {
                unsigned in = ((out.n * g.in_size[0] + at[0]) * g.in_size[1] + at[1]) * g.in_size[2] + at[2];
                Vector<REAL> values = load_channels(x, in, g.channels, slab.output, g.outputs,
                    [&](int channel) { return sides.channel(channel, 0); });
#pragma unroll
                for (int n = 0; n < PER_VECTOR; ++n) sum[n][i] += (ACC)gradient.at[n] * (ACC)values.at[n];
            }
            next_tap(tap, g.window);
        }
#pragma unroll
        for (int n = 0; n < PER_VECTOR; ++n) sum[n][WEIGHTS] += (ACC)gradient.at[n];
    }
    store_sums(partials, sum, slab, g.outputs, taps(g), scratch);
}
