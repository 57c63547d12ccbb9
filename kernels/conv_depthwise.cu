// Convolution in which every channel is a group of its own: output channel o sees channel o / (O / C) alone.
// A thread takes `per_thread` neighbouring channels: a vector of them where each has one output and they come in whole
// vectors, else one. The lanes of a warp are neighbours along the channels first.
// Activations are channels-last (N, D, H, W, C), weights (O, KD, KH, KW).
// Bound: memory, at one product per tap and output.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "window.cuh"
#include "slab.cuh"

#define MOST_SUMMED (PER_VECTOR < 4 ? PER_VECTOR : 4)  // channels of a thread whose gradients fit in its registers

// Forward makes y from x, the input gradient gx from gy: pixels of `made` channels from pixels of `read` channels,
// COUNT of them a thread; with more than one of them, each has one output channel.
template <bool FORWARD, int COUNT>
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
          multiplier(COUNT > 1 ? 1 : g.outputs / g.channels),
          per_tap(FORWARD ? 1 : multiplier) {}

    // The first of the channels that channel `made` takes, and of the output channels whose weights it meets.
    __device__ int channel(int made) const { return FORWARD ? made / multiplier : made * multiplier; }
    __device__ int filter(int made) const { return FORWARD ? made : made * multiplier; }
};

// Where pixels that lie side by side along an axis read through a tap, one after the other; beyond the last pixel if
// nowhere: unsigned positions before the first are far behind the last.
template <bool FORWARD>
struct Positions {
    int stride, wait;  // backward: how many pixels read nowhere before one does
    unsigned position;
    __device__ Positions(const Window& g, int axis, int at, int tap) : stride(g.stride[axis]), wait(0) {
        if (FORWARD) {
            position = (unsigned)at * stride - g.padding[axis] + tap * g.dilation[axis];
            return;
        }
        int start = at + g.padding[axis] - tap * g.dilation[axis];
        position = start;
        if (stride > 1) {  // divisions are slow
            int rest = start % stride;
            position = start / stride + (rest > 0);
            wait = rest > 0 ? stride - rest : -rest;
        }
    }
    __device__ unsigned next() {
        if (FORWARD) return (position += stride) - stride;
        if (wait-- > 0) return ~0u;
        wait = stride - 1;
        return position++;
    }
};

// A block of (channels, lanes) makes a slab of strips. Its weights stay in shared memory, a row for each product that
// an output takes, and a last row for the bias; in a row, the weights that threads read together lie together.
template <bool FORWARD, int COUNT>
__device__ __forceinline__ void make_slab(
    REAL* out, const REAL* in, const REAL* w, const REAL* bias_or_null, const Window& g, int per_slab, ACC* rows) {
    Sides<FORWARD, COUNT> sides(g);
    int depth = taps(g) * sides.per_tap, width = blockDim.x * COUNT, first = blockIdx.y * width;
    for (int e = threadIdx.y * blockDim.x + threadIdx.x; e < width * (depth + 1); e += blockDim.x * blockDim.y) {
        int row = e / width, i = e % width, made = first + i % blockDim.x * COUNT + i / blockDim.x;
        if (made >= sides.made) continue;
        ACC value = bias_or_null ? (ACC)bias_or_null[made] : 0;
        if (row < depth) {
            int filter = sides.filter(made) + row % sides.per_tap;
            value = w[(long long)filter * taps(g) + row / sides.per_tap];
        }
        rows[e] = value;
    }
    __syncthreads();  // the weights are complete

    int made = first + threadIdx.x * COUNT;
    if (made >= sides.made) return;
    const int(&size)[3] = sides.read_size;
    in += sides.channel(made);
    rows += threadIdx.x;
    each_strip(g.batch, sides.made_size, per_slab, [&](const Pixel& pixel) {
        ACC sum[COLUMNS][COUNT];
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) {
#pragma unroll
            for (int n = 0; n < COUNT; ++n) sum[q][n] = rows[depth * width + n * blockDim.x];
        }
        for (int i = 0; i < g.window[0]; ++i) {
            unsigned slice = Positions<FORWARD>(g, 0, pixel.at[0], i).next();
            for (int j = 0; j < g.window[1]; ++j) {
                unsigned row = Positions<FORWARD>(g, 1, pixel.at[1], j).next();
                if (slice >= size[0] || row >= size[1]) continue;
                unsigned start = ((pixel.n * size[0] + slice) * size[1] + row) * size[2];
                for (int k = 0; k < g.window[2]; ++k) {
                    Positions<FORWARD> columns(g, 2, pixel.at[2], k);
                    const ACC* weights = rows + ((i * g.window[1] + j) * g.window[2] + k) * sides.per_tap * width;
#pragma unroll
                    for (int q = 0; q < COLUMNS; ++q) {
                        unsigned column = columns.next();
                        if (column >= size[2]) continue;
                        const REAL* from = in + (long long)(start + column) * sides.read;
#pragma unroll 1
                        for (int number = 0; number < sides.per_tap; ++number) {
                            Vector<REAL, COUNT> values = load_vector<REAL, COUNT>(from + number);
#pragma unroll
                            for (int n = 0; n < COUNT; ++n) {
                                sum[q][n] += (ACC)values.at[n] * weights[number * width + n * blockDim.x];
                            }
                        }
                    }
                }
            }
        }
        long long to = index_of(pixel, sides.made_size);
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) {
            if (pixel.at[2] + q >= sides.made_size[2]) break;
            Vector<REAL, COUNT> values;
#pragma unroll
            for (int n = 0; n < COUNT; ++n) values.at[n] = sum[q][n];
            store_vector(out + (to + q) * sides.made + made, values, COUNT);
        }
    });
}

// A block makes a slab of strips of y, a thread the pixels of a strip at a time.
// Traffic: reads x once, and again from the caches for each further tap; writes y once.
extern "C" __global__ void __launch_bounds__(256, 1) depthwise_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, Window g, int per_slab, int per_thread) {
    extern __shared__ __align__(16) ACC rows[];
    if (per_thread == 1) make_slab<true, 1>(y, x, w, bias_or_null, g, per_slab, rows);
    else make_slab<true, PER_VECTOR>(y, x, w, bias_or_null, g, per_slab, rows);
}

// A block makes a slab of strips of gx, a thread the pixels of a strip at a time. With a bias it is the forward of
// transposed convolution.
// Traffic: reads gy once, and again from the caches for each further tap; writes gx once.
extern "C" __global__ void __launch_bounds__(256, 1) depthwise_backward_input(
    REAL* gx, const REAL* gy, const REAL* w, const REAL* bias_or_null, Window g, int per_slab, int per_thread) {
    extern __shared__ __align__(16) ACC rows[];
    if (per_thread == 1) make_slab<false, 1>(gx, gy, w, bias_or_null, g, per_slab, rows);
    else make_slab<false, PER_VECTOR>(gx, gy, w, bias_or_null, g, per_slab, rows);
}

template <int COUNT>
__device__ __forceinline__ void add_slab(
    ACC* partials, const REAL* gy, const REAL* x, const Window& g, int per_slab, ACC* scratch) {
    Slab<COUNT> slab(g, per_slab);
    int first_tap[3], lane0 = slab.output < g.outputs ? slab.begin + threadIdx.y : slab.end;
    tap_position(slab.weight, g.window, first_tap);
    x += slab.output / (g.outputs / g.channels);
    Sums<COUNT> sum = {};
    for (int p = lane0; p < slab.end; p += blockDim.y) {
        Pixel out = pixel_of(p, g.out_size);
        Vector<REAL, COUNT> gradient = load_vector<REAL, COUNT>(gy + (long long)p * g.outputs + slab.output);
        int tap[3] = {first_tap[0], first_tap[1], first_tap[2]};
#pragma unroll
        for (int i = 0; i < WEIGHTS; ++i) {
            Pixel in;
            if (input_pixel(g, out, tap, in)) {
                Vector<REAL, COUNT> values = load_vector<REAL, COUNT>(x + index_of(in, g.in_size) * g.channels);
#pragma unroll
                for (int n = 0; n < COUNT; ++n) sum[n][i] += (ACC)gradient.at[n] * (ACC)values.at[n];
            }
            next_tap(tap, g.window);
        }
#pragma unroll
        for (int n = 0; n < COUNT; ++n) sum[n][WEIGHTS] += (ACC)gradient.at[n];
    }
    store_sums(partials, sum, slab, g.outputs, taps(g), scratch);
}

// A block makes the partial sums of a slab of output pixels, a thread those of its channels and up to nine taps.
// Traffic: reads gy once per nine taps and x once per tap, from the caches after the first time; writes partials per
// slab.
extern "C" __global__ void __launch_bounds__(256, 1) depthwise_backward_weight(
    ACC* partials, const REAL* gy, const REAL* x, Window g, int per_slab, int per_thread) {
    extern __shared__ __align__(16) ACC scratch[];
    if (per_thread == 1) add_slab<1>(partials, gy, x, g, per_slab, scratch);
    else add_slab<MOST_SUMMED>(partials, gy, x, g, per_slab, scratch);
}
