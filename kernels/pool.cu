// Max pooling over channels-last memory (N, D, H, W, C), with the winner's position in the window. INDEX is as wide as
// that position needs. A thread has the channels of one vector, a warp those of 32 neighbours, and a block those of so
// many neighbours times so many pixels (pool.cuh).
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#ifndef INDEX
#error "define INDEX"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "channels.cuh"
#include "window.cuh"
#include "pool.cuh"

// The largest values so far, and their taps; -infinity and -1 before the first.
struct Best {
    Values value;
    Vector<int, WIDTH> tap;

    // PyTorch's rule: the first maximum wins, and NaN wins over all. Challengers come in the order of their taps.
    __device__ __forceinline__ void challenge(int k, ACC next, int next_tap) {
        if (tap.at[k] >= 0 && !(next > value.at[k]) && next == next) return;
        value.at[k] = next;
        tap.at[k] = next_tap;
    }
};

// A column of threads of a block makes one vector of outputs.
// Traffic: reads x once, and again from the caches where windows overlap; writes y and winner.
extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    REAL* y, INDEX* winner, const REAL* x, Window g) {
    __shared__ Best of_row[POOL_THREADS];
    Own own(g.channels, blockIdx.y);
    unsigned pixel = own_pixel();
    bool exists = pixel < pixels(g.batch, g.out_size);
    Best best;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
        best.value.at[k] = __int_as_float(0xff800000);
        best.tap.at[k] = -1;
    }
    if (exists) {
        each_tap(g, pixel_of(pixel, g.out_size), [&](int tap, long long start) {
            Values values = own.load(x + start);
#pragma unroll
            for (int k = 0; k < WIDTH; ++k) best.challenge(k, values.at[k], tap);
        });
    }
    if (threadIdx.z > 0) of_row[own_thread()] = best;
    __syncthreads();  // all rows have written before row 0 reads
    if (threadIdx.z > 0 || !exists) return;
    for (int row = 1; row < blockDim.z; ++row) {
        const Best& next = of_row[own_thread() + row * blockDim.y * blockDim.x];
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) best.challenge(k, next.value.at[k], next.tap.at[k]);
    }
    own.store(y + (long long)pixel * g.channels, best.value);
    auto tap_or_0 = [](int tap) { return max(tap, 0); };  // a window that lies in the padding as a whole has no winner
    own.store(winner + (long long)pixel * g.channels, transformed<int, WIDTH>(tap_or_0, best.tap));
}

// Extends the number of a tap by one axis: the tap of an output at which an input position in its window lies. Negative
// if it lies between taps, or did so on an axis before: a negative `outer` cannot be made up for by less than a window.
__device__ __forceinline__ int tap_at(const Window& g, int axis, int outer, int out, int in) {
    int offset = in - window_of(g, axis, out).begin, tap = quotient(offset, g.dilation[axis]);
    return tap * g.dilation[axis] != offset ? -1 : outer * g.window[axis] + tap;
}

// One thread makes one vector of the input's gradient: it adds the outputs whose winner it is, in their order.
// Traffic: reads gy and winner once, and again from the caches for each further tap; writes gx once, zeros included.
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    REAL* gx, const REAL* gy, const INDEX* winner, Window g) {
    Own own(g.channels, blockIdx.y);
    unsigned pixel = own_pixel();
    if (pixel >= pixels(g.batch, g.in_size)) return;
    Pixel in = pixel_of(pixel, g.in_size), out = in;
    Range d = outputs_of(g, 0, in.at[0]), h = outputs_of(g, 1, in.at[1]), w = outputs_of(g, 2, in.at[2]);
    Values sum = {};
#pragma unroll 1
    for (out.at[0] = d.begin; out.at[0] < d.end; ++out.at[0]) {
        int plane = tap_at(g, 0, 0, out.at[0], in.at[0]);
#pragma unroll 1
        for (out.at[1] = h.begin; out.at[1] < h.end; ++out.at[1]) {
            int line = tap_at(g, 1, plane, out.at[1], in.at[1]);
#pragma unroll 1
            for (out.at[2] = w.begin; out.at[2] < w.end; ++out.at[2]) {
                int tap = tap_at(g, 2, line, out.at[2], in.at[2]);
                long long start = start_of(g, out, g.out_size);
                Vector<INDEX, WIDTH> winners = own.load_as_stored(winner + start);
                Values gradients = own.load(gy + start);
#pragma unroll
                for (int k = 0; k < WIDTH; ++k) {
                    if (winners.at[k] == tap) sum.at[k] += gradients.at[k];
                }
            }
        }
    }
    own.store(gx + (long long)pixel * g.channels, sum);
}

// One thread turns one vector of winners into PyTorch's indices: positions in the D * H * W volume of the input.
// Traffic: reads winner; writes 8 bytes per output.
extern "C" __global__ void __launch_bounds__(256) max_pool_indices(
    long long* indices, const INDEX* winner, Window g) {
    Own own(g.channels, blockIdx.y);
    unsigned pixel = own_pixel();
    if (pixel >= pixels(g.batch, g.out_size)) return;
    Pixel out = pixel_of(pixel, g.out_size), in;
    Vector<INDEX, WIDTH> winners = own.load_as_stored(winner + (long long)pixel * g.channels);
    Vector<long long, WIDTH> positions;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
        pixel_behind(g, Box(g, out), winners.at[k], in);
        in.n = 0;
        positions.at[k] = index_of(in, g.in_size);
    }
    own.store(indices + (long long)pixel * g.channels, positions);
}
