// Each wrapper of kernels/mma.cuh alone, on fragments and matrices that lie in memory as the test says.
#include "../../kernels/common.cuh"
#include "../../kernels/mma.cuh"

// Block i multiplies the fragments number i: registers of a lane lie side by side, lanes one after another.
template <class T>
__device__ void multiply(float* c, const unsigned* a, const unsigned* b) {
    int lane = blockIdx.x * WARP + threadIdx.x;
    float sum[4];
    unsigned left[4], right[2] = {b[lane * 2], b[lane * 2 + 1]};
    for (int i = 0; i < 4; ++i) {
        sum[i] = c[lane * 4 + i];
        left[i] = a[lane * 4 + i];
    }
    mma<T>(sum, left, right);
    for (int i = 0; i < 4; ++i) c[lane * 4 + i] = sum[i];
}
extern "C" __global__ void __launch_bounds__(32) multiply_float(float* c, const unsigned* a, const unsigned* b) {
    multiply<float>(c, a, b);
}
extern "C" __global__ void __launch_bounds__(32) multiply_half(float* c, const unsigned* a, const unsigned* b) {
    multiply<half>(c, a, b);
}
extern "C" __global__ void __launch_bounds__(32) multiply_bfloat16(float* c, const unsigned* a, const unsigned* b) {
    multiply<bfloat16>(c, a, b);
}

// Loads 32 rows of 8 elements, lane l giving the address of row row_of[l].
template <bool TRANSPOSED>
__device__ void load(unsigned* words, const unsigned short* rows, const int* row_of) {
    __shared__ __align__(16) unsigned short held[32 * 8];
    for (int i = threadIdx.x; i < 32 * 8; i += WARP) held[i] = rows[i];
    __syncwarp();
    unsigned loaded[4];
    const unsigned short* row = held + row_of[threadIdx.x] * 8;
    if (TRANSPOSED)
        load_matrices_transposed(loaded, row);
    else
        load_matrices(loaded, row);
    for (int i = 0; i < 4; ++i) words[threadIdx.x * 4 + i] = loaded[i];
}
extern "C" __global__ void __launch_bounds__(32) load_plain(
    unsigned* words, const unsigned short* rows, const int* row_of) {
    load<false>(words, rows, row_of);
}
extern "C" __global__ void __launch_bounds__(32) load_transposed(
    unsigned* words, const unsigned short* rows, const int* row_of) {
    load<true>(words, rows, row_of);
}

extern "C" __global__ void __launch_bounds__(32) round_all(unsigned* rounded, const unsigned* words, int count) {
    for (int i = threadIdx.x; i < count; i += WARP) rounded[i] = round_to_tf32(words[i]);
}

// y = x where lane is even, else zeros; `early` is what the destination holds before the wait.
extern "C" __global__ void __launch_bounds__(32) copy_even_lanes(float* y, float* early, const float* x) {
    __shared__ __align__(16) float held[WARP * 4];
    float* own = held + threadIdx.x * 4;
    copy_async(own, x + threadIdx.x * 4, threadIdx.x % 2 == 0);
    commit_copies();
    for (int i = 0; i < 4; ++i) early[threadIdx.x * 4 + i] = own[i];
    wait_for_copies<0>();
    for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = own[i];
}

#ifdef GPUNET_EMULATOR
// Of the SIZE bytes at x, only `valid`.
template <int SIZE>
__device__ void copy_part(unsigned char* y, const unsigned char* x, int valid) {
    __shared__ __align__(16) unsigned char held[16];
    gpunet::copy_async<SIZE>(held, x, valid);
    commit_copies();
    wait_for_copies<0>();
    for (int i = 0; i < 16; ++i) y[i] = held[i];
}
extern "C" __global__ void copy_part_of_4(unsigned char* y, const unsigned char* x, int valid) {
    copy_part<4>(y, x, valid);
}
extern "C" __global__ void copy_part_of_8(unsigned char* y, const unsigned char* x, int valid) {
    copy_part<8>(y, x, valid);
}
extern "C" __global__ void copy_part_of_16(unsigned char* y, const unsigned char* x, int valid) {
    copy_part<16>(y, x, valid);
}
#endif
