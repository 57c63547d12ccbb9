// Losses that compare element by element, reduced in the same pass, and their gradients. All arrays are dense in one
// common layout, so the order of their elements does not matter. Forward, a block of 8 warps takes 2048 elements, and a
// thread every 256th of them; backward, a thread takes one. A warp reads 32 neighbours at a time.
// Bound: memory.
// Traffic: forward reads x, target and weights once, and writes a loss per element or a sum per block; backward reads
// them and gy, and writes gx and, where it is wanted, the gradient of the target.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "warp.cuh"

#define THREADS 256
#define PER_BLOCK 2048  // must equal _PER_BLOCK of gpunet/ops/loss.py

// One block takes PER_BLOCK elements: it writes each one's loss, or their sum, scaled.
template <typename Loss>
__device__ __forceinline__ void reduce(REAL* each_or_null, ACC* sums_or_null, ACC scale, long long count, Loss loss) {
    long long first = (long long)blockIdx.x * PER_BLOCK, end = min(first + PER_BLOCK, count);
    ACC sum[1] = {0};
    for (long long i = first + threadIdx.x; i < end; i += THREADS) {
        ACC value = loss(i);
        sum[0] += value;
        if (each_or_null) each_or_null[i] = value;
    }
    if (!sums_or_null) return;
    block_sum<THREADS>(sum);
    if (threadIdx.x == 0) sums_or_null[blockIdx.x] = sum[0] * scale;
}

// One thread makes the gradients of one element; that of the target is the negative. gy_stride is 1 where gy has one
// element for each loss, 0 where it has one for the reduced loss.
template <typename Slope>
__device__ __forceinline__ void differentiate(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, ACC scale, long long count, int gy_stride, Slope slope) {
    long long i = global_thread();
    if (i >= count) return;
    ACC gradient = slope(i) * (gy[i * gy_stride] * scale);
    if (gx_or_null) gx_or_null[i] = gradient;
    if (gtarget_or_null) gtarget_or_null[i] = -gradient;
}

// |x - target|.
extern "C" __global__ void __launch_bounds__(256) l1_loss_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [=](long long i) { return fabs(x[i] - target[i]); });
}

// gx = sign(x - target) * gy; 0 where they are equal.
extern "C" __global__ void __launch_bounds__(256) l1_loss_backward(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, const REAL* x, const REAL* target, ACC scale,
    long long count, int gy_stride) {
    differentiate(gx_or_null, gtarget_or_null, gy, scale, count, gy_stride, [=](long long i) {
        ACC error = x[i] - target[i];
        return (error > 0) - (error < 0);
    });
}

// (x - target)^2.
extern "C" __global__ void __launch_bounds__(256) mse_loss_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [=](long long i) {
        ACC error = x[i] - target[i];
        return error * error;
    });
}

// gx = 2 * (x - target) * gy.
extern "C" __global__ void __launch_bounds__(256) mse_loss_backward(
    REAL* gx_or_null, REAL* gtarget_or_null, const REAL* gy, const REAL* x, const REAL* target, ACC scale,
    long long count, int gy_stride) {
    differentiate(gx_or_null, gtarget_or_null, gy, scale, count, gy_stride, [=](long long i) {
        return 2 * (x[i] - target[i]);
    });
}

// (1 - target) * x + c * log(1 + exp(-x)), times weight, where c = 1 + (pos_weight - 1) * target. Only exp of what is
// not positive is taken, so nothing overflows.
extern "C" __global__ void __launch_bounds__(256) binary_cross_entropy_with_logits_forward(
    REAL* each_or_null, ACC* sums_or_null, const REAL* x, const REAL* target, const REAL* weight_or_null,
    const REAL* pos_weight_or_null, ACC scale, long long count) {
    reduce(each_or_null, sums_or_null, scale, count, [=](long long i) {
        ACC logit = x[i], yes = target[i], no = 1 - yes;
        if (pos_weight_or_null) yes *= pos_weight_or_null[i];
        ACC softplus = (logit < 0 ? -logit : 0) + log1p(exp(-fabs(logit)));  // of -logit
        ACC loss = no * logit + (yes + no) * softplus;
        return weight_or_null ? loss * weight_or_null[i] : loss;
    });
}

// gx = (c * sigmoid(x) - pos_weight * target) * weight * gy, with the c of forward.
extern "C" __global__ void __launch_bounds__(256) binary_cross_entropy_with_logits_backward(
    REAL* gx, const REAL* gy, const REAL* x, const REAL* target, const REAL* weight_or_null,
    const REAL* pos_weight_or_null, ACC scale, long long count, int gy_stride) {
    differentiate(gx, nullptr, gy, scale, count, gy_stride, [=](long long i) {
        ACC logit = x[i], yes = target[i], no = 1 - yes;
        if (pos_weight_or_null) yes *= pos_weight_or_null[i];
        ACC small = exp(-fabs(logit)), sigmoid = (logit < 0 ? small : 1) / (1 + small);
        ACC slope = (yes + no) * sigmoid - yes;
        return weight_or_null ? slope * weight_or_null[i] : slope;
    });
}
