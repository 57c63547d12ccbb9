// Average pooling over channels-last memory (N, D, H, W, C).
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "window.cuh"
#include "pool.cuh"

// How many elements an output sees along one axis: of the padded input, or of the input alone.
__device__ __forceinline__ int elements(const Window& g, int axis, int out, bool with_padding) {
    Range window = window_of(g, axis, out);
    int padding = with_padding ? g.padding[axis] : 0;
    return min(window.end, g.in_size[axis] + padding) - max(window.begin, -padding);
}

// One column of threads makes one output. What the sum is divided by is counted where `divisor` is 0.
extern "C" __global__ void __launch_bounds__(256) average_pool_forward(
    REAL* y, const REAL* x, Window g, int with_padding, int divisor) {
    __shared__ ACC of_row[POOL_THREADS];
    long long i = global_thread();
    int channel = i % g.channels;
    Pixel out = pixel_of(i / g.channels, g.out_size), in = out;
    ACC sum = 0;
    if (i < outputs(g)) {
        Box box(g, out);
        Range row = taps_of_row(g);
        for (int tap = row.begin; tap < row.end; ++tap) {
            if (pixel_behind(g, box, tap, in)) sum += x[index_of(in, g.in_size) * g.channels + channel];
        }
    }
    of_row[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    __syncthreads();  // all rows have written before row 0 reads
    if (threadIdx.y > 0 || i >= outputs(g)) return;
    for (int row = 1; row < blockDim.y; ++row) sum += of_row[row * blockDim.x + threadIdx.x];
    if (!divisor) {
        divisor = 1;
        for (int axis = 0; axis < 3; ++axis) divisor *= elements(g, axis, out.at[axis], with_padding);
    }
    y[i] = sum / divisor;
}

// One thread makes one input's gradient: it adds its shares of the outputs that see it, in their order.
extern "C" __global__ void __launch_bounds__(256) average_pool_backward(
    REAL* gx, const REAL* gy, Window g, int with_padding, int divisor) {
    long long i = global_thread();
    if (i >= (long long)pixels(g.batch, g.in_size) * g.channels) return;
    int channel = i % g.channels;
    Pixel in = pixel_of(i / g.channels, g.in_size), out = in;
    Range d = outputs_of(g, 0, in.at[0]), h = outputs_of(g, 1, in.at[1]), w = outputs_of(g, 2, in.at[2]);
    ACC sum = 0;
    for (out.at[0] = d.begin; out.at[0] < d.end; ++out.at[0]) {
        int depth = elements(g, 0, out.at[0], with_padding);
        for (out.at[1] = h.begin; out.at[1] < h.end; ++out.at[1]) {
            int area = depth * elements(g, 1, out.at[1], with_padding);
#pragma unroll 1
            for (out.at[2] = w.begin; out.at[2] < w.end; ++out.at[2]) {
                ACC value = gy[index_of(out, g.out_size) * g.channels + channel];
                sum += value / (divisor ? divisor : area * elements(g, 2, out.at[2], with_padding));
            }
        }
    }
    gx[i] = sum;
}
