// Matrix products with any element strides, so that transposed operands need no copy; of many matrices at once, whose
// places the batch axes of a and b tell, in elements, with strides of 0 where one matrix serves many.
// Bound: arithmetic, at the rate of fused multiply-adds: 2 * M * N * K operations, and per 16 multiply-adds two vectors
// of four from shared memory.
// Traffic: a tile takes its rows of a and columns of b, so a is read N / 64 times and b M / 64 times, most often from
// the caches; c is written once.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "gemm.cuh"

struct Gemm {
    int M, N, K;
    int first;  // of the batch, in this launch
    long long a_row, a_column, b_row, b_column;
};

struct RowsOfA {
    static constexpr bool DEPTH_FASTEST = true;
    const REAL* a;
    long long matrix;  // where it begins
    const Gemm& g;
    __device__ ACC operator()(int m, int k) const {
        return m < g.M && k < g.K ? (ACC)a[matrix + m * g.a_row + k * g.a_column] : 0;
    }
};

struct ColumnsOfB {
    static constexpr bool DEPTH_FASTEST = false;
    const REAL* b;
    long long matrix;
    const Gemm& g;
    __device__ ACC operator()(int n, int k) const {
        return n < g.N && k < g.K ? (ACC)b[matrix + k * g.b_row + n * g.b_column] : 0;
    }
};

// One block makes one 64 x 64 tile of c (M, N) = a (M, K) * b (K, N) + bias (N), a warp 8 x 64, a thread 4 x 4 of it.
extern "C" __global__ void __launch_bounds__(256) gemm(
    REAL* c, const REAL* a_strided, const REAL* b_strided, const REAL* bias_or_null, Gemm g,
    const __grid_constant__ Axes a_batch, const __grid_constant__ Axes b_batch) {
    int m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE, batch = blockIdx.z;
    RowsOfA a = {a_strided, offset_of(a_batch, g.first + batch), g};
    ColumnsOfB b = {b_strided, offset_of(b_batch, g.first + batch), g};
    ACC sum[PER_THREAD][PER_THREAD] = {};
    multiply_tile(sum, a, b, m0, n0, 0, g.K);
    store_tile(sum, m0, n0, g.M, g.N, [&](int m, int n, ACC value) {
        c[((long long)batch * g.M + m) * g.N + n] = value + (bias_or_null ? (ACC)bias_or_null[n] : 0);
    });
}

// One thread makes one element of a dense (rows, N) result from the splits of its product: their sum in order, plus a
// bias per column, perhaps clipped by ReLU. A warp makes 32 neighbours, a block of 8 warps 256.
// Bound: memory.
// Traffic: reads the partials once, writes the result once.
extern "C" __global__ void __launch_bounds__(256) sum_splits(
    REAL* c, const ACC* partials, const REAL* bias_or_null, int relu, long long size, int N, int splits) {
    long long i = global_thread();
    if (i >= size) return;
    ACC sum = 0;
    for (int split = 0; split < splits; ++split) sum += partials[split * size + i];
    sum += bias_or_null ? (ACC)bias_or_null[(unsigned long long)i % (unsigned)N] : 0;
    c[i] = relu ? rectified(sum) : sum;
}
