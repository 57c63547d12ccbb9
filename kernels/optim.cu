// Optimizer steps: one launch over flat buffers, whatever the number of parameters. Nothing is written once the
// error word is set: a step with a bad batch leaves no trace. One block updates one chunk, one thread every 256th
// vector of it, of 16 bytes of the state, and a warp 32 neighbouring ones at a time.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "chunks.cuh"

constexpr int WIDTH = 16 / sizeof(ACC);
using Values = Vector<ACC, WIDTH>;

__device__ __forceinline__ Values load_values(const REAL* address, int left) {
    return converted<ACC>(load_vector<REAL, WIDTH>(address, left));
}

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

// Stochastic gradient descent with momentum, PyTorch's formula. Momentum that was never written is the first gradient.
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
    each_vector<WIDTH>(chunk, [&](long long i, int left) {
        Values value = load_values(param + i, left), gradient = load_values(grad + i, left), velocity;
        if (momentum_or_null) velocity = load_vector(momentum_or_null + i, left);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            ACC step = (maximize ? -gradient.at[k] : gradient.at[k]) + weight_decay * value.at[k];
            if (momentum_or_null) {
                velocity.at[k] = fresh ? step : momentum * velocity.at[k] + (1 - dampening) * step;
                step = nesterov ? step + momentum * velocity.at[k] : velocity.at[k];
            }
            value.at[k] -= rate * step;
        }
        if (momentum_or_null) store_vector(momentum_or_null + i, velocity, left);
        store_vector(param + i, converted<REAL>(value), left);
    });
}

// Adam and AdamW, PyTorch's formula. The betas are doubles because 1 - beta is small, and so is 1 - beta^step at first.
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
    each_vector<WIDTH>(chunk, [&](long long i, int left) {
        Values value = load_values(param + i, left), gradients = load_values(grad + i, left);
        Values mean = load_vector(exp_avg + i, left), square = load_vector(exp_avg_sq + i, left), maximum;
        if (max_exp_avg_sq_or_null) maximum = load_vector(max_exp_avg_sq_or_null + i, left);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            ACC gradient = maximize ? -gradients.at[k] : gradients.at[k];
            if (decoupled_weight_decay) value.at[k] *= shrink;
            else gradient += weight_decay * value.at[k];
            mean.at[k] = keep * mean.at[k] + add * gradient;
            square.at[k] = keep_sq * square.at[k] + add_sq * gradient * gradient;
            maximum.at[k] = max_exp_avg_sq_or_null ? larger(square.at[k], maximum.at[k]) : square.at[k];
            value.at[k] -= step_size * (mean.at[k] / (sqrt(maximum.at[k]) / root_of_correction + eps));
        }
        store_vector(exp_avg + i, mean, left);
        store_vector(exp_avg_sq + i, square, left);
        if (max_exp_avg_sq_or_null) store_vector(max_exp_avg_sq_or_null + i, maximum, left);
        store_vector(param + i, converted<REAL>(value), left);
    });
}
