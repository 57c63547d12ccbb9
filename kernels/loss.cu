// Losses that compare element by element, reduced in the same pass, and their gradients. All arrays are dense in one
// common layout, so the order of their elements does not matter. Forward, a block of 8 warps takes 2048 elements, and a
// thread every 256th vector of 16 bytes; backward, a thread takes one vector. A warp reads 32 neighbouring ones at a time.
// Bound: memory.
// Traffic: forward reads x, target and weights once, and writes a loss per element or a sum per block; backward reads
// them and gy, and writes gx and, where it is wanted, the gradient of the target.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "warp.cuh"

#define THREADS 256
#define PER_BLOCK 2048  // must equal _PER_BLOCK of gpunet/ops/loss.py
constexpr int WIDTH = 16 / sizeof(REAL);

__device__ __forceinline__ Vector<REAL, WIDTH> filled(REAL value) {
    Vector<REAL, WIDTH> vector;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) vector.at[k] = value;
    return vector;
}

// Up to `count` elements from the i-th one on; ones where there is no array.
__device__ __forceinline__ Vector<REAL, WIDTH> load_or_ones(const REAL* x_or_null, long long i, long long count) {
    return x_or_null ? load_vector(x_or_null + i, count) : filled(1);
}

// One block takes PER_BLOCK elements: it writes each one's loss(inputs), or their sum, scaled.
template <class Loss, class... In>
__device__ __forceinline__ void reduce(
    REAL* each_or_null, ACC* sums_or_null, ACC scale, long long count, Loss loss, const In*... inputs) {
    long long first = (long long)blockIdx.x * PER_BLOCK;
    ACC sum[1] = {0};
#pragma unroll
    for (int step = 0; step < PER_BLOCK; step += THREADS * WIDTH) {
        long long i = first + step + threadIdx.x * WIDTH, left = count - i;
        Vector<ACC, WIDTH> losses = transformed<ACC, WIDTH>(loss, load_or_ones(inputs, i, left)...);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) sum[0] += k < left ? losses.at[k] : 0;
        if (each_or_null) store_vector(each_or_null + i, converted<REAL>(losses), left);
    }
    if (!sums_or_null) return;
    block_sum<THREADS>(sum);
    if (threadIdx.x == 0) sums_or_null[blockIdx.x] = sum[0] * scale;
}

// One thread makes the gradients of one vector, slope(inputs) * gy; those of the target are the negatives. gy_stride is
// 1 where gy has one element for each loss, 0 where it has one for the reduced loss.
template <class Slope, class... In>
__device__ __forceinline__ void differentiate(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, ACC scale, long long count, int gy_stride, Slope slope,
    const In*... inputs) {
    long long i = global_thread() * WIDTH, left = count - i;
    Vector<ACC, WIDTH> gradients = transformed<ACC, WIDTH>(
        [=](ACC gy, In... inputs) { return slope(inputs...) * (gy * scale); },
        gy_stride ? load_vector(gy + i, left) : filled(gy[0]), load_or_ones(inputs, i, left)...);
    if (gx_or_null) store_vector(gx_or_null + i, converted<REAL>(gradients), left);
    if (!gtarget_or_null) return;
    store_vector(gtarget_or_null + i, transformed<REAL, WIDTH>([](ACC gradient) { return -gradient; }, gradients), left);
}

// |x - target|.
extern "C" __global__ void __launch_bounds__(256) l1_loss_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [](ACC x, ACC target) { return fabs(x - target); }, x, target);
}

// gx = sign(x - target) * gy; 0 where they are equal.
extern "C" __global__ void __launch_bounds__(256) l1_loss_backward(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, const REAL* x, const REAL* target, ACC scale,
    long long count, int gy_stride) {
    differentiate(gx_or_null, gtarget_or_null, gy, scale, count, gy_stride, [](ACC x, ACC target) {
        return (x > target) - (x < target);
    }, x, target);
}

// (x - target)^2.
extern "C" __global__ void __launch_bounds__(256) mse_loss_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [](ACC x, ACC target) {
        ACC error = x - target;
        return error * error;
    }, x, target);
}

// gx = 2 * (x - target) * gy.
extern "C" __global__ void __launch_bounds__(256) mse_loss_backward(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, const REAL* x, const REAL* target, ACC scale,
    long long count, int gy_stride) {
    differentiate(gx_or_null, gtarget_or_null, gy, scale, count, gy_stride, [](ACC x, ACC target) {
        return 2 * (x - target);
    }, x, target);
}

// (1 - target) * x + c * log(1 + exp(-x)), times weight, where c = 1 + (pos_weight - 1) * target. Only exp of what is
// not positive is taken, so nothing overflows.
extern "C" __global__ void __launch_bounds__(256) binary_cross_entropy_with_logits_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, const REAL* weight_or_null,
    const REAL* pos_weight_or_null, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [](ACC logit, ACC target, ACC weight, ACC pos_weight) {
        ACC yes = target * pos_weight, no = 1 - target;
        ACC softplus = max(-logit, (ACC)0) + log1p(exp(-fabs(logit)));  // of -logit
        return (no * logit + (yes + no) * softplus) * weight;
    }, x, target, weight_or_null, pos_weight_or_null);
}

// gx = (c * sigmoid(x) - pos_weight * target) * weight * gy, with the c of forward.
extern "C" __global__ void __launch_bounds__(256) binary_cross_entropy_with_logits_backward(
    REAL* gx, const REAL* gy, const REAL* x, const REAL* target, const REAL* weight_or_null,
    const REAL* pos_weight_or_null, ACC scale, long long count, int gy_stride) {
    differentiate(gx, nullptr, gy, scale, count, gy_stride, [](ACC logit, ACC target, ACC weight, ACC pos_weight) {
        ACC yes = target * pos_weight, no = 1 - target;
        ACC small = exp(-fabs(logit)), sigmoid = (logit < 0 ? small : 1) / (1 + small);
        return ((yes + no) * sigmoid - yes) * weight;
    }, x, target, weight_or_null, pos_weight_or_null);
}
