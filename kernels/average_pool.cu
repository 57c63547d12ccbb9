// Average pooling over channels-last memory (N, D, H, W, C). A thread has the channels of one vector, a warp those of
// 32 neighbours, and a block those of so many neighbours times so many pixels (pool.cuh).
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "channels.cuh"
#include "window.cuh"
#include "pool.cuh"

// How many elements an output sees along one axis: of the padded input, or of the input alone.
__device__ __forceinline__ int elements(const Window& g, int axis, int out, bool with_padding) {
    Range window = window_of(g, axis, out);
    int padding = with_padding ? g.padding[axis] : 0;
    return min(window.end, g.in_size[axis] + padding) - max(window.begin, -padding);
}

// A column of threads of a block makes one vector of outputs. What the sums are divided by is counted where
// `divisor` is 0.
// Traffic: reads x once, and again from the caches where windows overlap; writes y.
extern "C" __global__ void __launch_bounds__(256) average_pool_forward(
    REAL* y, const REAL* x, Window g, int with_padding, int divisor) {
    __shared__ Values of_row[POOL_THREADS];
    Own own(g.channels, blockIdx.y);
    unsigned pixel = own_pixel();
    bool exists = pixel < pixels(g.batch, g.out_size);
    auto add = [](ACC a, ACC b) { return a + b; };
    Pixel out = pixel_of(pixel, g.out_size);
    Values sum = {};
    if (exists) {
        each_tap(g, out, [&](int, long long start) { sum = transformed<ACC, WIDTH>(add, sum, own.load(x + start)); });
    }
    of_row[own_thread()] = sum;
    __syncthreads();  // all rows have written before row 0 reads
    if (threadIdx.z > 0 || !exists) return;
    for (int row = 1; row < blockDim.z; ++row) {
        sum = transformed<ACC, WIDTH>(add, sum, of_row[own_thread() + row * blockDim.y * blockDim.x]);
    }
    if (!divisor) {
        divisor = 1;
        for (int axis = 0; axis < 3; ++axis) divisor *= elements(g, axis, out.at[axis], with_padding);
    }
    auto mean = [=](ACC sum) { return sum / divisor; };
    own.store(y + (long long)pixel * g.channels, transformed<ACC, WIDTH>(mean, sum));
}

// One thread makes one vector of the input's gradient: it adds its shares of the outputs that see it, in their order.
// Traffic: reads gy once, and again from the caches for each further tap; writes gx once.
extern "C" __global__ void __launch_bounds__(256, 4) average_pool_backward(
    REAL* gx, const REAL* gy, Window g, int with_padding, int divisor) {
    Own own(g.channels, blockIdx.y);
    unsigned pixel = own_pixel();
    if (pixel >= pixels(g.batch, g.in_size)) return;
    Pixel in = pixel_of(pixel, g.in_size), out = in;
    Range d = outputs_of(g, 0, in.at[0]), h = outputs_of(g, 1, in.at[1]), w = outputs_of(g, 2, in.at[2]);
    Values sum = {};
#pragma unroll 1
    for (out.at[0] = d.begin; out.at[0] < d.end; ++out.at[0]) {
        int depth = elements(g, 0, out.at[0], with_padding);
#pragma unroll 1
        for (out.at[1] = h.begin; out.at[1] < h.end; ++out.at[1]) {
            int area = depth * elements(g, 1, out.at[1], with_padding);
#pragma unroll 1
            for (out.at[2] = w.begin; out.at[2] < w.end; ++out.at[2]) {
                ACC seen = divisor ? divisor : area * elements(g, 2, out.at[2], with_padding);
                auto add = [=](ACC sum, ACC gradient) { return sum + gradient / seen; };
                sum = transformed<ACC, WIDTH>(add, sum, own.load(gy + start_of(g, out, g.out_size)));
            }
        }
    }
    own.store(gx + (long long)pixel * g.channels, sum);
}
