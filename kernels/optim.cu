// Optimizer steps: one launch over flat buffers, whatever the number of parameters. Nothing is written once the
// error word is set: a step with a bad batch leaves no trace. A warp reads 32 neighbours at a time.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "chunks.cuh"

// steps[counter] is how often a chunk was updated. Each has its own, so no other block reads it while it changes; -1 is
// returned for a counter that does not exist.
__device__ __forceinline__ long long own_counter(const long long* chunks, long long counters) {
    long long counter = chunks[3 * (long long)blockIdx.x + 2];
    return counter < counters ? counter : -1;
}

// base to the power of exponent >= 0, by squaring: the same bits on every device.
__device__ __forceinline__ double power(double base, long long exponent) {
    double result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2) result *= base;
        base *= base;
    }
    return result;
}

// Stochastic gradient descent with momentum, PyTorch's formula. One block updates one chunk, one thread every
// 256th element of it. Momentum that was never written is the first gradient.
// Traffic: reads parameter and gradient and writes the parameter, 12 bytes for a float; with momentum, which is read
// and written too, 20.
extern "C" __global__ void __launch_bounds__(256) sgd_step(
    REAL* param, const REAL* grad, ACC* momentum_or_null, long long* steps, const long long* chunks, const ACC* lr,
    ACC momentum, ACC dampening, ACC weight_decay, int nesterov, int maximize, long long size, long long counters,
    const int* error) {
    if (*error) return;
    Chunk chunk = own_chunk(chunks, size);
    long long counter = own_counter(chunks, counters);
    if (chunk.begin >= chunk.end || counter < 0) return;
    __shared__ int fresh;
    if (momentum_or_null) {
        if (threadIdx.x == 0) fresh = steps[counter]++ == 0;
        __syncthreads();  // thread 0 has looked at the counter
    }
    ACC rate = *lr;
    for (long long i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
        ACC gradient = grad[i], value = param[i], step = (maximize ? -gradient : gradient) + weight_decay * value;
        if (momentum_or_null) {
            ACC velocity = fresh ? step : momentum * momentum_or_null[i] + (1 - dampening) * step;
            momentum_or_null[i] = velocity;
            step = nesterov ? step + momentum * velocity : velocity;
        }
        param[i] = value - rate * step;
    }
}

// Adam and AdamW, PyTorch's formula. One block updates one chunk, one thread every 256th element of it. The betas are
// doubles because 1 - beta is small, and so is 1 - beta^step at first.
// Traffic: reads parameter, gradient and two averages, and writes all but the gradient, 28 bytes for a float; with the
// largest averages 36.
extern "C" __global__ void __launch_bounds__(256) adam_step(
    REAL* param, const REAL* grad, ACC* exp_avg, ACC* exp_avg_sq, ACC* max_exp_avg_sq_or_null, long long* steps,
    const long long* chunks, const ACC* lr, double beta1, double beta2, ACC eps, ACC weight_decay,
    int decoupled_weight_decay, int maximize, long long size, long long counters, const int* error) {
    if (*error) return;
    Chunk chunk = own_chunk(chunks, size);
    long long counter = own_counter(chunks, counters);
    if (chunk.begin >= chunk.end || counter < 0) return;
    __shared__ ACC step_size, root_of_correction;
    if (threadIdx.x == 0) {
        long long step = ++steps[counter];
        step_size = *lr / (ACC)(1 - power(beta1, step));
        root_of_correction = sqrt((ACC)(1 - power(beta2, step)));
    }
    __syncthreads();  // thread 0 has counted this step
    ACC keep = beta1, add = 1 - beta1, keep_sq = beta2, add_sq = 1 - beta2, shrink = 1 - *lr * weight_decay;
    for (long long i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
        ACC value = param[i], gradient = grad[i];
        if (maximize) gradient = -gradient;
        if (decoupled_weight_decay) value *= shrink;
        else gradient += weight_decay * value;
        ACC mean = keep * exp_avg[i] + add * gradient;
        ACC square = keep_sq * exp_avg_sq[i] + add_sq * gradient * gradient;
        exp_avg[i] = mean;
        exp_avg_sq[i] = square;
        if (max_exp_avg_sq_or_null) {
            square = larger(square, max_exp_avg_sq_or_null[i]);
            max_exp_avg_sq_or_null[i] = square;
        }
        param[i] = value - step_size * (mean / (sqrt(square) / root_of_correction + eps));
    }
}
