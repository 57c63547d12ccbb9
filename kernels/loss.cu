// Cross entropy with class indices, log-softmax and its gradient fused.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"

#define ROWS_PER_BLOCK 4

__device__ __forceinline__ REAL warp_max(REAL value) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
        REAL other = __shfl_xor_sync(ALL_LANES, value, lanes);
        value = other > value || other != other ? other : value;  // NaN must not get lost
    }
    return value;
}

__device__ __forceinline__ REAL warp_sum(REAL value) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(ALL_LANES, value, lanes);
    return value;
}

// One warp makes one row's loss, scaled, and its log(sum(exp(x))). A target outside [0, classes) writes `code`
// to the error word, and the row counts nothing.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_forward(
    REAL* loss, REAL* log_sum_exp, const REAL* x, const long long* target, REAL scale, int rows, int classes,
    int* error, int code) {
    int lane = threadIdx.x % WARP, row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= rows) return;
    const REAL* logits = x + (long long)row * classes;
    REAL largest = logits[0];
    for (int c = lane; c < classes; c += WARP) {
        largest = logits[c] > largest || logits[c] != logits[c] ? logits[c] : largest;
    }
    largest = warp_max(largest);
    REAL sum = 0;
    for (int c = lane; c < classes; c += WARP) sum += exp(logits[c] - largest);
    sum = warp_sum(sum);
    if (lane == 0) {
        REAL total = largest + log(sum);
        long long wanted = target[row];
        bool valid = wanted >= 0 && wanted < classes;
        if (!valid) atomicCAS(error, 0, code);
        log_sum_exp[row] = total;
        loss[row] = valid ? (total - logits[wanted]) * scale : 0;
    }
}

// One warp makes one row's gradient: (softmax(x) - one_hot(target)) * scale * gy. gy has one element, or one a row.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_backward(
    REAL* gx, const REAL* gy, const REAL* x, const long long* target, const REAL* log_sum_exp, REAL scale,
    int rows, int classes, int gy_stride) {
    int lane = threadIdx.x % WARP, row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= rows) return;
    REAL factor = gy[row * gy_stride] * scale, total = log_sum_exp[row];
#pragma unroll 1
    for (int c = lane; c < classes; c += WARP) {
        long long i = (long long)row * classes + c;
        gx[i] = (exp(x[i] - total) - (c == target[row] ? 1 : 0)) * factor;
    }
}
