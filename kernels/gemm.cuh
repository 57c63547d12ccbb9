// The plain tiled matrix product that every GEMM and convolution shares: C = A * B without tensor cores.
// It is the oracle of faster kernels, in IEEE arithmetic of type ACC.
#include "vector.cuh"

#define TILE 64        // a block of 256 threads makes a 64 x 64 tile of C
#define DEPTH 16       // ... from slices that are 16 deep
#define PER_THREAD 4   // each thread owns 4 x 4 elements of it
#define THREADS 256
#define PADDED (TILE + 4)  // rows of vectors, of which 8 begin in different banks

// An operand is a functor: operand(i, k) returns element i of slice k, or 0 outside; i is a row of A or a
// column of B. DEPTH_FASTEST says which of the two indices is adjacent in memory, so that loads coalesce.
template <class Operand>
__device__ __forceinline__ void load_slice(ACC (&slice)[DEPTH][PADDED], const Operand& operand, int first, int k0) {
    for (int e = threadIdx.x; e < TILE * DEPTH; e += THREADS) {
        // A warp takes neighbours in memory, and writes to different banks: 32 elements, or 8 slices of 4.
        int i = Operand::DEPTH_FASTEST ? e / 8 % TILE : e % TILE;
        int k = Operand::DEPTH_FASTEST ? e % 8 + e / (8 * TILE) * 8 : e / TILE;
        slice[k][i] = operand(first + i, k0 + k);
    }
}

// Accumulates the tile at (m0, n0) over k in [k_begin, k_end). Both operands must return 0 from k_end on: 0 * infinity
// is NaN.
template <class A, class B>
__device__ __forceinline__ void multiply_tile(
    ACC (&sum)[PER_THREAD][PER_THREAD], const A& a, const B& b, int m0, int n0, int k_begin, int k_end) {
    __shared__ __align__(16) ACC a_slice[DEPTH][PADDED], b_slice[DEPTH][PADDED];
    int row = threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    int column = threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    for (int k0 = k_begin; k0 < k_end; k0 += DEPTH) {
        load_slice(a_slice, a, m0, k0);
        load_slice(b_slice, b, n0, k0);
        __syncthreads();  // the slices are complete
        for (int k = 0; k < DEPTH; ++k) {
            auto a_part = load_vector<ACC, PER_THREAD>(&a_slice[k][row]);
            auto b_part = load_vector<ACC, PER_THREAD>(&b_slice[k][column]);
#pragma unroll
            for (int i = 0; i < PER_THREAD; ++i) {
#pragma unroll
                for (int j = 0; j < PER_THREAD; ++j) sum[i][j] += a_part.at[i] * b_part.at[j];
            }
        }
        __syncthreads();  // everybody has read them before the next pair is loaded
    }
}

// Calls store(m, n, value) for each element of this thread's part of the tile that lies inside M x N.
template <class Store>
__device__ __forceinline__ void store_tile(
    const ACC (&sum)[PER_THREAD][PER_THREAD], int m0, int n0, int M, int N, const Store& store) {
    int row = m0 + threadIdx.x / (TILE / PER_THREAD) * PER_THREAD;
    int column = n0 + threadIdx.x % (TILE / PER_THREAD) * PER_THREAD;
    for (int i = 0; i < PER_THREAD && row + i < M; ++i) {
        for (int j = 0; j < PER_THREAD && column + j < N; ++j) store(row + i, column + j, sum[i][j]);
    }
}
