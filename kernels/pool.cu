// Max pooling over channels-last memory (N, D, H, W, C), with the winner's position in the window.
// INDEX is as wide as that position needs.
#ifndef REAL
#error "define REAL"
#endif
#ifndef INDEX
#error "define INDEX"
#endif
#include "common.cuh"
#include "window.cuh"
#include "pool.cuh"

// The largest value so far, and its tap; -infinity and -1 before the first.
struct Best {
    ACC value;
    int tap;
};

// PyTorch's rule: the first maximum wins, and NaN wins over everything. Challengers come in the order of their taps.
__device__ __forceinline__ void challenge(Best& best, Best next) {
    if (best.tap < 0 || next.value > best.value || next.value != next.value) best = next;
}

// One column of threads makes one output.
extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    REAL* y, INDEX* winner, const REAL* x, Window g) {
    __shared__ Best of_row[POOL_THREADS];
    long long i = global_thread();
    int channel = i % g.channels;
    Best best = {__int_as_float(0xff800000), -1};
    if (i < outputs(g)) {
        Pixel out = pixel_of(i / g.channels, g.out_size), in = out;
        Box box(g, out);
        Range row = taps_of_row(g);
        for (int tap = row.begin; tap < row.end; ++tap) {
            if (!pixel_behind(g, box, tap, in)) continue;
            challenge(best, {x[index_of(in, g.in_size) * g.channels + channel], tap});
        }
    }
    of_row[threadIdx.y * blockDim.x + threadIdx.x] = best;
    __syncthreads();  // all rows have written before row 0 reads
    if (threadIdx.y > 0 || i >= outputs(g)) return;
    for (int row = 1; row < blockDim.y; ++row) challenge(best, of_row[row * blockDim.x + threadIdx.x]);
    y[i] = best.value;
    winner[i] = (INDEX)max(best.tap, 0);  // a window that lies in the padding as a whole has no winner
}

// Extends the number of a tap by one axis: the tap of an output at which an input position in its window lies. Negative
// if it lies between taps, or did so on an axis before: a negative `outer` cannot be made up for by less than a window.
__device__ __forceinline__ int tap_at(const Window& g, int axis, int outer, int out, int in) {
    int offset = in - window_of(g, axis, out).begin;
    return offset % g.dilation[axis] ? -1 : outer * g.window[axis] + offset / g.dilation[axis];
}

// One thread makes one input's gradient: it adds the outputs whose winner it is, in their order.
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    REAL* gx, const REAL* gy, const INDEX* winner, Window g) {
    long long i = global_thread();
    if (i >= (long long)pixels(g.batch, g.in_size) * g.channels) return;
    int channel = i % g.channels;
    Pixel in = pixel_of(i / g.channels, g.in_size), out = in;
    Range d = outputs_of(g, 0, in.at[0]), h = outputs_of(g, 1, in.at[1]), w = outputs_of(g, 2, in.at[2]);
    ACC sum = 0;
    for (out.at[0] = d.begin; out.at[0] < d.end; ++out.at[0]) {
        int plane = tap_at(g, 0, 0, out.at[0], in.at[0]);
        for (out.at[1] = h.begin; out.at[1] < h.end; ++out.at[1]) {
            int line = tap_at(g, 1, plane, out.at[1], in.at[1]);
#pragma unroll 1
            for (out.at[2] = w.begin; out.at[2] < w.end; ++out.at[2]) {
                int tap = tap_at(g, 2, line, out.at[2], in.at[2]);
                long long o = index_of(out, g.out_size) * g.channels + channel;
                if (winner[o] == tap) sum += gy[o];
            }
        }
    }
    gx[i] = sum;
}

// One thread turns one winner into PyTorch's index: its position in the D * H * W volume of the input.
extern "C" __global__ void __launch_bounds__(256) max_pool_indices(
    long long* indices, const INDEX* winner, Window g) {
    long long i = global_thread();
    if (i >= outputs(g)) return;
    Pixel out = pixel_of(i / g.channels, g.out_size), in;
    pixel_behind(g, Box(g, out), winner[i], in);
    in.n = 0;
    indices[i] = index_of(in, g.in_size);
}
