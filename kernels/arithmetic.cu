// Arithmetic with broadcasting.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"

// One thread computes one element of the output, in its memory order; `x_axes` and `y_axes` walk the operands in that
// order, with element strides that are 0 along broadcast axes. An operand that is null is `number`.
template <class Operation>
__device__ __forceinline__ void broadcast(
    REAL* out, const REAL* x, const REAL* y, const Axes& x_axes, const Axes& y_axes, ACC number, unsigned count,
    const Operation& operation) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    ACC a = x ? (ACC)x[offset_of(x_axes, i)] : number, b = y ? (ACC)y[offset_of(y_axes, i)] : number;
    out[i] = operation(a, b);
}

extern "C" __global__ void __launch_bounds__(256) add_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, Axes x_axes, Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a + b; });
}

extern "C" __global__ void __launch_bounds__(256) sub_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, Axes x_axes, Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a - b; });
}

extern "C" __global__ void __launch_bounds__(256) mul_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, Axes x_axes, Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a * b; });
}

extern "C" __global__ void __launch_bounds__(256) div_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, Axes x_axes, Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a / b; });
}

extern "C" __global__ void __launch_bounds__(256) neg(REAL* y, const REAL* x, long long count) {
    long long i = global_thread();
    if (i < count) y[i] = -(ACC)x[i];
}
