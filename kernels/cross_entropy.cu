// Cross entropy with class indices, log-softmax and its gradient fused. Losses of rows are OUT: REAL where they are
// the result, ACC where they are summed.
#ifndef REAL
#error "define REAL"
#endif
#ifndef OUT
#error "define OUT"
#endif
#include "common.cuh"
#include "warp.cuh"

#define ROWS_PER_BLOCK 4

// One warp makes one row's loss, scaled, and its log(sum(exp(x))). A target outside [0, classes) writes `code`
// to the error word, and the row counts nothing.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_forward(
    OUT* loss, ACC* log_sum_exp, const REAL* x, const long long* target, ACC scale, int rows, int classes,
    int* error, int code) {
    int lane = threadIdx.x % WARP, row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= rows) return;
    const REAL* logits = x + (long long)row * classes;
    ACC largest = logits[0];
    for (int c = lane; c < classes; c += WARP) {
        ACC value = logits[c];
        largest = value > largest || value != value ? value : largest;
    }
    largest = warp_max(largest);
    ACC sum = 0;
    for (int c = lane; c < classes; c += WARP) sum += exp(logits[c] - largest);
    sum = warp_sum(sum);
    if (lane == 0) {
        ACC total = largest + log(sum);
        long long wanted = target[row];
        bool valid = wanted >= 0 && wanted < classes;
        if (!valid) atomicCAS(error, 0, code);
        log_sum_exp[row] = total;
        loss[row] = valid ? (total - logits[wanted]) * scale : (ACC)0;
    }
}

// One warp makes one row's gradient: (softmax(x) - one_hot(target)) * scale * gy. gy has one element, or one a row.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_backward(
    REAL* gx, const REAL* gy, const REAL* x, const long long* target, const ACC* log_sum_exp, ACC scale,
    int rows, int classes, int gy_stride) {
    int lane = threadIdx.x % WARP, row = blockIdx.x * ROWS_PER_BLOCK + threadIdx.x / WARP;
    if (row >= rows) return;
    ACC factor = gy[row * gy_stride] * scale, total = log_sum_exp[row];
#pragma unroll 1
    for (int c = lane; c < classes; c += WARP) {
        long long i = (long long)row * classes + c;
        gx[i] = (exp(x[i] - total) - (c == target[row] ? 1 : 0)) * factor;
    }
}
