// Convolution of few channels without groups, as in the first layer of a network: where an output takes some ten
// products, tensor cores have nothing to do. x is smaller than y by outputs / channels. The lanes of a warp are
// neighbours along the output channels first. Activations are channels-last (N, D, H, W, C), weights (O, KD, KH, KW,
// C).
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "window.cuh"
#include "slab.cuh"

#define WEIGHTS_READ (16 / (int)sizeof(ACC))  // at once
// As in gpunet/ops/conv_direct.py.
#define OUTPUTS 8  // channels that a thread of forward makes of each pixel
#define SPARE 4    // numbers between the rows of weights in shared memory, against bank conflicts

// Calls visit(weight, in) for the weights of an output channel in turn, where in[q] is what pixel q of a strip of COUNT
// sees through it: zero in the padding. Unsigned positions before the first are far beyond the last.
template <int COUNT, class Visit>
__device__ __forceinline__ void each_weight(const REAL* x, const Window& g, const Pixel& out, const Visit& visit) {
    unsigned origin[3];
    for (int axis = 0; axis < 3; ++axis) origin[axis] = (unsigned)out.at[axis] * g.stride[axis] - g.padding[axis];
    int weight = 0;
    for (int i = 0; i < g.window[0]; ++i) {
        for (int j = 0; j < g.window[1]; ++j) {
            unsigned slice = origin[0] + i * g.dilation[0], row = origin[1] + j * g.dilation[1];
            bool inside = slice < g.in_size[0] && row < g.in_size[1];
            unsigned first = ((out.n * g.in_size[0] + slice) * g.in_size[1] + row) * g.in_size[2];
            for (int k = 0; k < g.window[2]; ++k) {
                for (int channel = 0; channel < g.channels; ++channel) {
                    ACC in[COUNT];
#pragma unroll
                    for (int q = 0; q < COUNT; ++q) {
                        unsigned column = origin[2] + (unsigned)q * g.stride[2] + k * g.dilation[2];
                        bool seen = inside && column < g.in_size[2];
                        in[q] = seen ? (ACC)x[(long long)(first + column) * g.channels + channel] : 0;
                    }
                    visit(weight++, in);
                }
            }
        }
    }
}

// Number in its block of output k of thread x of a row of threads, and the place of its weights in shared memory: each
// of the two moves whole vectors, neighbouring threads neighbouring ones.
__device__ __forceinline__ int number_of(int k, int x) {
    return (k / PER_VECTOR * blockDim.x + x) * PER_VECTOR + k % PER_VECTOR;
}
__device__ __forceinline__ int place_of(int k, int x) {
    return (k / WEIGHTS_READ * blockDim.x + x) * WEIGHTS_READ + k % WEIGHTS_READ;
}

// A block of (eights of output channels, lanes) makes a slab of strips. Its weights stay in shared memory, a row for
// each weight of an output channel, and a last row for the bias. A thread makes 8 channels of the 4 pixels of a strip,
// in registers.
// Traffic: writes y once; reads x once per tap and 8 channels, from the caches after the first time.
extern "C" __global__ void __launch_bounds__(256, 1) direct_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, Window g, int per_slab, int relu) {
    extern __shared__ __align__(16) ACC rows[];
    int depth = taps(g) * g.channels, width = blockDim.x * OUTPUTS, pitch = width + SPARE, first = blockIdx.y * width;
    for (int e = threadIdx.y * blockDim.x + threadIdx.x; e < width * (depth + 1); e += blockDim.x * blockDim.y) {
        int thread = e / (depth + 1) / OUTPUTS, k = e / (depth + 1) % OUTPUTS, row = e % (depth + 1);
        int output = first + number_of(k, thread);
        ACC value = 0;
        if (output < g.outputs) {
            if (row < depth) value = w[(long long)output * depth + row];
            else if (bias_or_null) value = bias_or_null[output];
        }
        rows[row * pitch + place_of(k, thread)] = value;
    }
    __syncthreads();  // the weights are complete

    each_strip(g.batch, g.out_size, per_slab, [&](const Pixel& out) {
        ACC sum[COLUMNS][OUTPUTS] = {};
        auto add = [&](int row, const ACC (&in)[COLUMNS]) {
#pragma unroll
            for (int k = 0; k < OUTPUTS; k += WEIGHTS_READ) {
                Vector<ACC> weights = load_vector(rows + row * pitch + place_of(k, threadIdx.x));
#pragma unroll
                for (int i = 0; i < WEIGHTS_READ; ++i) {
#pragma unroll
                    for (int q = 0; q < COLUMNS; ++q) sum[q][k + i] += in[q] * weights.at[i];
                }
            }
        };
        add(depth, {1, 1, 1, 1});
        each_weight<COLUMNS>(x, g, out, add);
        long long pixel = index_of(out, g.out_size);
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) {
            if (out.at[2] + q >= g.out_size[2]) break;
#pragma unroll
            for (int k = 0; k < OUTPUTS; k += PER_VECTOR) {
                int output = first + number_of(k, threadIdx.x);
                Vector<REAL> values;
#pragma unroll
                for (int i = 0; i < PER_VECTOR; ++i) values.at[i] = relu ? rectified(sum[q][k + i]) : sum[q][k + i];
                store_vector(y + (pixel + q) * g.outputs + output, values, g.outputs - output);
            }
        }
    });
}

// A block makes the partial sums of a slab of output pixels, as many at a time as it has threads. Each thread lays out
// what one pixel sees, a column of `seen`; then all of them add up products with gy, a thread for a vector of outputs
// and up to nine weights.
// Traffic: reads gy once per nine weights and x once per weight, from the caches after the first time; writes partials
// per slab.
extern "C" __global__ void __launch_bounds__(256, 2) direct_backward_weight(
    ACC* partials, const REAL* gy, const REAL* x, Window g, int per_slab) {
    extern __shared__ __align__(16) ACC seen[];
    Slab<PER_VECTOR> slab(g, per_slab);
    unsigned rows = blockDim.z * WEIGHTS, first = blockIdx.z * rows;
    Sums<PER_VECTOR> sum = {};
    for (int pixel0 = slab.begin; pixel0 < slab.end; pixel0 += slab.threads) {
        int count = min(slab.threads, slab.end - pixel0);
        if (slab.thread < count) {
            each_weight<1>(x, g, pixel_of(pixel0 + slab.thread, g.out_size), [&](unsigned weight, const ACC (&in)[1]) {
                if (weight - first < rows) seen[(weight - first) * slab.pitch + slab.thread] = in[0];
            });
        }
        __syncthreads();  // the pixels are laid out
        for (int p = threadIdx.y; p < count; p += blockDim.y) {
            const REAL* from = gy + (long long)(pixel0 + p) * g.outputs + slab.output;
            Vector<REAL> gradient = load_vector(from, g.outputs - slab.output);  // beyond the last nothing is stored
#pragma unroll
            for (int i = 0; i <= WEIGHTS; ++i) {
                ACC in = i < WEIGHTS ? seen[(threadIdx.z * WEIGHTS + i) * slab.pitch + p] : 1;
#pragma unroll
                for (int n = 0; n < PER_VECTOR; ++n) sum[n][i] += (ACC)gradient.at[n] * in;
            }
        }
        __syncthreads();  // everybody has read them before the next ones come
    }
    store_sums(partials, sum, slab, g.outputs, taps(g) * g.channels, seen);
}
