// Sums over axes in a fixed order: no atomics, the same bits in every run. Partial sums are ACC, so OUT is what is
// written: ACC by a pass whose splits are summed later, REAL by the last one.
#ifndef REAL
#error "define REAL"
#endif
#ifndef OUT
#error "define OUT"
#endif
#include "common.cuh"
#include "vector.cuh"

#define THREADS 256
constexpr int WIDTH = 16 / sizeof(REAL);

// What one of `parts` threads adds up of `count` summands, which begin at number `begin`.
struct Share {
    unsigned begin, count, part, parts;
    bool in_vectors;  // vectors part, part + parts, ... of neighbours in memory; else summands part, part + parts, ...

    // The sum; offset(i) is where summand i lies.
    template <class Offset>
    __device__ __forceinline__ ACC sum(const REAL* x, Offset offset) const {
        ACC total = 0;
        if (in_vectors) {
#pragma unroll 1
            for (unsigned i = part * WIDTH; i < count; i += parts * WIDTH) {
                Vector<REAL, WIDTH> values = load_vector(x + offset(begin + i), count - i);
#pragma unroll
                for (int k = 0; k < WIDTH; ++k) total += k < count - i ? (ACC)values.at[k] : 0;
            }
        } else {
#pragma unroll 4
            for (unsigned i = part; i < count; i += parts) total += x[offset(begin + i)];
        }
        return total;
    }
};

// A block makes 256 / parts outputs in one split of their summands (blockIdx.y): neighbouring threads, and so the lanes
// of a warp, read neighbours in memory, which belong to `adjacent` outputs, or where that is 1 to one of the parts
// after the other. The parts are added in a tree. out[split][output] is in memory order: the sum over the split,
// divided by `divisor`.
// Bound: memory.
// Traffic: reads x once; writes one ACC per split and output, or the outputs.
extern "C" __global__ void __launch_bounds__(256) sum_axes(
    OUT* out, const REAL* x, const __grid_constant__ Axes kept, const __grid_constant__ Axes summed, unsigned outputs,
    unsigned summands, unsigned per_split, unsigned adjacent, unsigned parts, int in_vectors, ACC divisor) {
    __shared__ ACC held[THREADS];
    unsigned begin = blockIdx.y * per_split, part = threadIdx.x / adjacent % parts;
    unsigned group = blockIdx.x * (THREADS / parts / adjacent) + threadIdx.x / adjacent / parts;
    unsigned output = group * adjacent + threadIdx.x % adjacent;
    Share share = {begin, min(per_split, summands - begin), part, parts, in_vectors != 0};
    ACC sum = 0;
    if (output < outputs) {
        const REAL* first = x + offset_of(kept, output);
        sum = summed.count <= 1 ? share.sum(first, [&](unsigned i) { return i * summed.stride[0]; })
                                : share.sum(first, [&](unsigned i) { return offset_of(summed, i); });
    }
    held[threadIdx.x] = sum;
    for (unsigned half = parts / 2; half > 0; half /= 2) {
        __syncthreads();  // the other half has written
        if (part < half) held[threadIdx.x] += held[threadIdx.x + half * adjacent];
    }
    if (part == 0 && output < outputs) out[(long long)blockIdx.y * outputs + output] = held[threadIdx.x] / divisor;
}
