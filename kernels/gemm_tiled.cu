// Matrix products in tiles, for dense matrices in any of the orders that linear layers need. A block makes one tile
// from one split of K; tiles.cuh shows what its warps and threads make.
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
    int per_split;  // how deep each split of K is; a multiple of the slices
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

// One block makes one tile from one split of K: of the result, or of partials[split], whose sum over the splits is the
// result without its bias.
template <bool A_DEPTH_FASTEST, bool B_DEPTH_FASTEST>
__device__ __forceinline__ void gemm(
    REAL* c, float* partials, const REAL* a, const REAL* b, const REAL* bias, const Matrices& g) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N;
    int begin = blockIdx.z * g.per_split, end = min(begin + g.per_split, g.K);
    Product::Sums sums = {};
    using Source = MatrixSource<A_DEPTH_FASTEST, B_DEPTH_FASTEST>;
    Source source;
    source.a.set(a, m0, g.M, begin, end, A_DEPTH_FASTEST ? g.K : g.M);
    source.b.set(b, n0, g.N, begin, end, B_DEPTH_FASTEST ? g.K : g.N);
    multiply_slices(sums, source, (end - begin + Shape::DEPTH - 1) / Shape::DEPTH);
    if (partials) {
        float* own = partials + (long long)blockIdx.z * g.M * g.N;
        auto row = [&](int m) { return m0 + m < g.M ? own + (long long)(m0 + m) * g.N : nullptr; };
        Product::store<typename Source::A, typename Source::B>(sums, n0, g.N, row, nullptr);
    } else {
        auto row = [&](int m) { return m0 + m < g.M ? c + (long long)(m0 + m) * g.N : nullptr; };
        Product::store<typename Source::A, typename Source::B>(sums, n0, g.N, row, bias);
    }
}

// (M, N) = a (M, K) * b (N, K)^T + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_nt(
    REAL* c_or_null, float* partials_or_null, const REAL* a, const REAL* b, const REAL* bias_or_null, Matrices g) {
    gemm<true, true>(c_or_null, partials_or_null, a, b, bias_or_null, g);
}

// (M, N) = a (M, K) * b (K, N) + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_nn(
    REAL* c_or_null, float* partials_or_null, const REAL* a, const REAL* b, const REAL* bias_or_null, Matrices g) {
    gemm<true, false>(c_or_null, partials_or_null, a, b, bias_or_null, g);
}

// (M, N) = a (K, M)^T * b (K, N) + bias (N)
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_gemm_tn(
    REAL* c_or_null, float* partials_or_null, const REAL* a, const REAL* b, const REAL* bias_or_null, Matrices g) {
    gemm<false, false>(c_or_null, partials_or_null, a, b, bias_or_null, g);
}
