// The norm of gradients, and clipping. One block works on one chunk, so a flat buffer takes one launch; partial sums
// are added in a fixed order. A thread takes every 256th vector of 16 bytes of its chunk, a warp 32 neighbouring ones.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "chunks.cuh"

constexpr int WIDTH = 16 / sizeof(REAL);

// A norm of any order > 0 as a sum of powers of absolute values, or their maximum where the order is infinite.
struct Norm {
    ACC order;
    __device__ bool is_maximum() const { return isinf(order); }
    __device__ ACC join(ACC a, ACC b) const { return is_maximum() ? larger(a, b) : a + b; }
    __device__ ACC power(ACC x) const {
        ACC size = fabs(x);
        return is_maximum() || order == 1 ? size : pow(size, order);
    }
    __device__ ACC root(ACC sum) const {
        return is_maximum() || order == 1 ? sum : order == 2 ? sqrt(sum) : pow(sum, 1 / order);
    }
};

// What one thread makes of its part of a chunk: total = join(total, x), from 0 on.
template <class Join>
__device__ __forceinline__ ACC join_vectors(const Chunk& chunk, const REAL* x, Join join) {
    ACC total = 0;
    each_vector<WIDTH>(chunk, [&](long long i, int left) {
        Vector<REAL, WIDTH> values = load_vector(x + i, left);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            if (k < left) total = join(total, values.at[k]);
        }
    });
    return total;
}

// Joins one value per thread; every thread gets the result. Once per kernel: nothing orders a second use of the memory.
__device__ __forceinline__ ACC join_block(const Norm& norm, ACC value) {
    __shared__ ACC of_warp[THREADS / WARP];
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
        value = norm.join(value, __shfl_xor_sync(ALL_LANES, value, lanes));
    }
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();  // every warp has written before all of them are read
    value = of_warp[0];
    for (int warp = 1; warp < THREADS / WARP; ++warp) value = norm.join(value, of_warp[warp]);
    return value;
}

// One block joins the powers of one chunk. The usual order has a loop of its own, which asks nothing per element.
// Traffic: reads x once; writes one value per chunk.
extern "C" __global__ void __launch_bounds__(256) norm_partials(
    ACC* partials, const REAL* x, const long long* chunks_or_null, ACC order, long long size) {
    Norm norm{order};
    Chunk chunk = own_chunk(chunks_or_null, size);
    ACC sum = order == 2 ? join_vectors(chunk, x, [](ACC total, ACC x) { return total + x * x; })
                         : join_vectors(chunk, x, [&](ACC total, ACC x) { return norm.join(total, norm.power(x)); });
    sum = join_block(norm, sum);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// One block joins the partial results of all chunks, and takes the root.
// Bound: latency, of one block.
// Traffic: reads one value per chunk.
extern "C" __global__ void __launch_bounds__(256) norm_total(
    REAL* total, const REAL* partials, ACC order, long long count) {
    Norm norm{order};
    ACC sum = join_vectors({0, count}, partials, [&](ACC total, ACC x) { return norm.join(total, x); });
    sum = join_block(norm, sum);
    if (threadIdx.x == 0) *total = norm.root(sum);
}

// Changes the elements of a chunk: x = formula(x).
template <class Formula>
__device__ __forceinline__ void change(const Chunk& chunk, REAL* x, Formula formula) {
    each_vector<WIDTH>(chunk, [&](long long i, int left) {
        store_vector(x + i, transformed<REAL, WIDTH>(formula, load_vector(x + i, left)), left);
    });
}

// One block scales one chunk, so that the norm `total` of all gradients becomes at most max_norm. A gradient that is
// small enough is not touched; a NaN goes everywhere.
// Traffic: reads x once and writes it, or neither where the norm is small enough.
extern "C" __global__ void __launch_bounds__(256) clip_by_norm(
    REAL* x, const ACC* total, const long long* chunks_or_null, ACC max_norm, long long size) {
    ACC factor = max_norm / (*total + (ACC)1e-6);
    if (factor >= 1) return;
    change(own_chunk(chunks_or_null, size), x, [=](ACC x) { return x * factor; });
}

// One block moves the values of one chunk into [-limit, limit]; NaN stays.
// Traffic: reads x once and writes it.
extern "C" __global__ void __launch_bounds__(256) clip_by_value(
    REAL* x, const long long* chunks_or_null, ACC limit, long long size) {
    change(own_chunk(chunks_or_null, size), x, [=](ACC x) { return x > limit ? limit : x < -limit ? -limit : x; });
}
