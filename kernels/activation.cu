// Activations. All arrays are dense in one common layout, so the order of their elements does not matter. A thread
// makes one vector of 16 bytes, a warp 32 neighbouring ones, a block of 8 warps 4 KB.
// Bound: memory.
// Traffic: of arrays of S bytes, forward reads S and writes S, backward reads 2 S and writes S.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

// y = max(x, 0). NaN passes through: only x <= 0 becomes 0.
extern "C" __global__ void __launch_bounds__(256) relu_forward(REAL* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) { return rectified(x); }, x);
}

// The gradient passes where the output is positive, or NaN; at 0 it is 0.
extern "C" __global__ void __launch_bounds__(256) relu_backward(
    REAL* gx, const REAL* gy, const REAL* y, long long count) {
    each(gx, count, [](ACC gy, ACC y) { return y <= 0 ? 0 : gy; }, gy, y);
}

// y = 1 / (1 + exp(-x)). Only exp of what is not positive is taken, so nothing overflows.
extern "C" __global__ void __launch_bounds__(256) sigmoid_forward(REAL* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) {
        ACC small = exp(-fabs(x));
        return (x < 0 ? small : 1) / (1 + small);
    }, x);
}

// gx = gy * (1 - y) * y, from the output.
extern "C" __global__ void __launch_bounds__(256) sigmoid_backward(
    REAL* gx, const REAL* gy, const REAL* y, long long count) {
    each(gx, count, [](ACC gy, ACC y) { return gy * (1 - y) * y; }, gy, y);
}

// y = tanh(x).
extern "C" __global__ void __launch_bounds__(256) tanh_forward(REAL* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) { return tanh(x); }, x);
}

// gx = gy * (1 - y * y), from the output.
extern "C" __global__ void __launch_bounds__(256) tanh_backward(
    REAL* gx, const REAL* gy, const REAL* y, long long count) {
    each(gx, count, [](ACC gy, ACC y) { return gy * (1 - y * y); }, gy, y);
}

// y = x, or alpha * (exp(x) - 1) where x <= 0, without cancellation.
extern "C" __global__ void __launch_bounds__(256) elu_forward(REAL* y, const REAL* x, ACC alpha, long long count) {
    each(y, count, [=](ACC x) { return x <= 0 ? alpha * expm1(x) : x; }, x);
}

// gx = gy, or gy * alpha * exp(x) where x <= 0.
extern "C" __global__ void __launch_bounds__(256) elu_backward(
    REAL* gx, const REAL* gy, const REAL* x, ACC alpha, long long count) {
    each(gx, count, [=](ACC gy, ACC x) { return x <= 0 ? gy * alpha * exp(x) : gy; }, gy, x);
}

// y = x, or x * slope where x <= 0.
extern "C" __global__ void __launch_bounds__(256) leaky_relu_forward(
    REAL* y, const REAL* x, ACC slope, long long count) {
    each(y, count, [=](ACC x) { return x > 0 ? x : x * slope; }, x);
}

// gx = gy, or gy * slope where x <= 0.
extern "C" __global__ void __launch_bounds__(256) leaky_relu_backward(
    REAL* gx, const REAL* gy, const REAL* x, ACC slope, long long count) {
    each(gx, count, [=](ACC gy, ACC x) { return x > 0 ? gy : gy * slope; }, gy, x);
}
