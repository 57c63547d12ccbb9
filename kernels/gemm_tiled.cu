// Matrix products in tiles, for matrices in any of the orders that linear layers need, whose lines may lie apart; of
// many matrices at once, whose places the batch axes of a and b tell, in elements. A block makes one tile from one split
// of K; tiles.cuh shows what its warps and threads make.
// Bound: arithmetic, at the rate of mma.sync or of fused multiply-adds: 2 * M * N * K operations; for few rows, reading
// the larger operand once.
// Traffic: a tile takes its rows of a and columns of b, so a is read N / Shape::N times and b M / Shape::M times, most
// often from the L2 cache; the result is written once, partials once per split, as floats.
#ifndef REAL
#error "define REAL"
#endif
#ifndef TILE
#error "define TILE"
#endif
#include "common.cuh"
#include "tiles.cuh"

struct Matrices {
    int M, N, K;
    int per_split;       // how deep each split of K is; a multiple of the slices
    int batches, first;  // of this launch
    int relu;            // whether ReLU clips results
    long long a_line, b_line;  // elements from line to line; all lines begin at a multiple of 16 bytes
};

template <bool A_DEPTH_FASTEST, bool B_DEPTH_FASTEST>
struct MatrixSource {
    using A = Slice<Shape::M, A_DEPTH_FASTEST>;
    using B = Slice<Shape::N, B_DEPTH_FASTEST>;
    Lines<A> a;
    Lines<B> b;
    __device__ const REAL* a_chunk(int i, bool& exists) const { return a.chunk(i, exists); }
    __device__ const REAL* b_chunk(int i, bool& exists) const { return b.chunk(i, exists); }
    __device__ void advance() { a.advance(), b.advance(); }
};

// One block makes one tile from one split of K: of a result, or of partials[split], whose sum over the splits is the
// result without its bias.
template <bool A_DEPTH_FASTEST, bool B_DEPTH_FASTEST>
__device__ __forceinline__ void gemm(
    REAL* c, float* partials, const REAL* a, const REAL* b, const REAL* bias, const Matrices& g, const Axes& a_batch,
    const Axes& b_batch) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N, batch = blockIdx.z % g.batches;
    int begin = blockIdx.z / g.batches * g.per_split, end = min(begin + g.per_split, g.K);
    a += offset_of(a_batch, g.first + batch), b += offset_of(b_batch, g.first + batch);
    Product::Sums sums = {};
    using Source = MatrixSource<A_DEPTH_FASTEST, B_DEPTH_FASTEST>;
    Source source;
    source.a.set(a, m0, g.M, begin, end, g.a_line);
    source.b.set(b, n0, g.N, begin, end, g.b_line);
    multiply_slices(sums, source, (end - begin + Shape::DEPTH - 1) / Shape::DEPTH);
    if (partials) {
        float* own = partials + (long long)blockIdx.z * g.M * g.N;
        auto row = [&](int m) { return m0 + m < g.M ? own + (long long)(m0 + m) * g.N : nullptr; };
        Product::store<typename Source::A, typename Source::B>(sums, n0, g.N, row, Epilogue{});
    } else {
        REAL* own = c + (long long)batch * g.M * g.N;
        auto row = [&](int m) { return m0 + m < g.M ? own + (long long)(m0 + m) * g.N : nullptr; };
        Product::store<typename Source::A, typename Source::B>(sums, n0, g.N, row, {bias, g.relu});
    }
}

// (M, N) = a (M, K) * b (N, K)^T + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_nt(
    REAL* c_or_null, float* partials_or_null, const REAL* a_strided, const REAL* b_strided, const REAL* bias_or_null,
    Matrices g, const __grid_constant__ Axes a_batch, const __grid_constant__ Axes b_batch) {
    gemm<true, true>(c_or_null, partials_or_null, a_strided, b_strided, bias_or_null, g, a_batch, b_batch);
}

// (M, N) = a (M, K) * b (K, N) + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_nn(
    REAL* c_or_null, float* partials_or_null, const REAL* a_strided, const REAL* b_strided, const REAL* bias_or_null,
    Matrices g, const __grid_constant__ Axes a_batch, const __grid_constant__ Axes b_batch) {
    gemm<true, false>(c_or_null, partials_or_null, a_strided, b_strided, bias_or_null, g, a_batch, b_batch);
}

// (M, N) = a (K, M)^T * b (K, N) + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_tn(
    REAL* c_or_null, float* partials_or_null, const REAL* a_strided, const REAL* b_strided, const REAL* bias_or_null,
    Matrices g, const __grid_constant__ Axes a_batch, const __grid_constant__ Axes b_batch) {
    gemm<false, false>(c_or_null, partials_or_null, a_strided, b_strided, bias_or_null, g, a_batch, b_batch);
}
