// Accesses to shared memory whose wavefronts the tests know.
#include "../../kernels/common.cuh"
#include "../../kernels/mma.cuh"

// Lane t reads and then writes element index[t]; none where that is negative.
template <class T>
__device__ __forceinline__ void touch(T* y, T* memory, const int* index) {
    int at = index[threadIdx.x];
    if (at >= 0) y[threadIdx.x] = memory[at];
    __syncthreads();
    if (at >= 0) memory[at] = y[threadIdx.x];
}
#define TOUCH(name, type)                                                       \
    extern "C" __global__ void static_##name(type* y, const int* index) {       \
        __shared__ __align__(16) type held[2048];                               \
        touch(y, held, index);                                                  \
    }                                                                           \
    extern "C" __global__ void dynamic_##name(type* y, const int* index) {      \
        extern __shared__ __align__(16) type held[];                            \
        touch(y, held, index);                                                  \
    }
TOUCH(1, unsigned char)
TOUCH(2, unsigned short)
TOUCH(4, float)
TOUCH(8, double)
TOUCH(16, float4)

// Four parts of a vector that is read as a whole, and one that is read alone.
extern "C" __global__ void read_vectors(float* y) {
    __shared__ float4 held[32];
    held[threadIdx.x] = make_float4(1, 2, 3, 4);
    __syncthreads();
    float4 whole = held[31 - threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = whole.x + whole.y + whole.z + whole.w + held[threadIdx.x].y;
}

// Lane t reads row index[t] of 16 bytes by ldmatrix, or copies to it.
extern "C" __global__ void matrices(unsigned* words, const int* index) {
    __shared__ float4 held[512];
    unsigned loaded[4];
    load_matrices(loaded, held + index[threadIdx.x]);
    words[threadIdx.x] = loaded[0];
}
extern "C" __global__ void copies(float4* y, const float4* x, const int* index) {
    __shared__ float4 held[512];
    copy_async(held + index[threadIdx.x], x + threadIdx.x, true);
    commit_copies();
    wait_for_copies<0>();
    y[threadIdx.x] = held[index[threadIdx.x]];
}

// A tile of 32 x 32 is written by rows and read by columns.
template <int PITCH>
__device__ __forceinline__ void transpose(float* y, const float* x) {
    __shared__ float tile[32][PITCH];
    for (int i = 0; i < 32; ++i) tile[i][threadIdx.x] = x[i * 32 + threadIdx.x];
    __syncwarp();
    for (int i = 0; i < 32; ++i) y[i * 32 + threadIdx.x] = tile[threadIdx.x][i];
}
extern "C" __global__ void transpose_plain(float* y, const float* x) { transpose<32>(y, x); }
extern "C" __global__ void transpose_padded(float* y, const float* x) { transpose<33>(y, x); }

// Lane 0 skips the first turn of a loop. Its second one hits the bank of lane 1 in the first, where they do not meet.
template <int MEETING>
__device__ __forceinline__ void skip_a_turn(float* y, int turns) {
    __shared__ float held[65];
    for (int turn = 0; turn < turns; ++turn) {
        if (threadIdx.x > 0 || turn == 1) held[threadIdx.x + 33 * turn] = turn;
        if (MEETING == 1) __syncwarp();
        if (MEETING == 2) y[0] = __shfl_sync(ALL_LANES, 1.0f, 0);
        if (MEETING == 3) __syncthreads();
    }
}
extern "C" __global__ void meets_nowhere(float* y, int turns) { skip_a_turn<0>(y, turns); }
extern "C" __global__ void meets_at_syncwarp(float* y, int turns) { skip_a_turn<1>(y, turns); }
extern "C" __global__ void meets_at_a_shuffle(float* y, int turns) { skip_a_turn<2>(y, turns); }
extern "C" __global__ void meets_at_a_barrier(float* y, int turns) { skip_a_turn<3>(y, turns); }

// The two halves of a warp go apart; each half's lanes hit one bank in pairs.
extern "C" __global__ void halves(float* y) {
    __shared__ float held[64];
    int lane = threadIdx.x;
    if (lane < 16) {
        held[lane * 4] = lane;
        __syncwarp(0xffff);
        y[lane] = held[lane];
    } else {
        held[lane] = lane;
    }
}

// Blocks and atomics.
extern "C" __global__ void count_all(int* y) {
    __shared__ int sums[64];
    sums[threadIdx.x * 2 % 64] = 0;
    __syncthreads();
    atomicAdd(&sums[threadIdx.x * 2 % 64], 1);
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = sums[0];
}
