// Optimizer steps: one launch over flat buffers, whatever the number of parameters.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"

// Stochastic gradient descent with momentum, PyTorch's formula. One block updates one chunk, one thread every
// 256th element of it. A row of `chunks` is (start, length, fresh); fresh marks momentum never written. Nothing is written
// once the error word is set: a step with a bad batch leaves no trace.
extern "C" __global__ void __launch_bounds__(256) sgd_step(
    REAL* param, const REAL* grad, REAL* momentum_or_null, const long long* chunks, const ACC* lr, ACC momentum,
    ACC dampening, ACC weight_decay, int nesterov, int maximize, long long size, const int* error) {
    if (*error) return;
    long long start = chunks[3 * blockIdx.x], length = chunks[3 * blockIdx.x + 1];
    bool fresh = chunks[3 * blockIdx.x + 2] != 0;
    long long end = min(start + length, size);  // a wrong table must not leave the buffers
    for (long long i = max(start, 0LL) + threadIdx.x; i < end; i += blockDim.x) {
        ACC gradient = grad[i], value = param[i], step = (maximize ? -gradient : gradient) + weight_decay * value;
        if (momentum_or_null) {
            ACC velocity = fresh ? step : momentum * momentum_or_null[i] + (1 - dampening) * step;
            momentum_or_null[i] = velocity;
            step = nesterov ? step + momentum * velocity : velocity;
        }
        param[i] = value - *lr * step;
    }
}
