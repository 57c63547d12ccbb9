// Arithmetic with broadcasting. A thread makes one vector of 16 bytes of the output, a warp 32 neighbouring ones, a
// block of 8 warps 4 KB.
// Bound: memory.
// Traffic: reads what the operands hold, of broadcast ones each value again and again, but from the caches; writes the
// output.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

// Elements i, i + 1, ... of an operand, as many as a vector of REAL holds: `axes` walks it in the memory order of the
// output, with element strides that are 0 along broadcast axes. Where they all lie along the last axis, their offset is
// computed once. An operand that is null is `number`.
constexpr int WIDTH = 16 / sizeof(REAL);
__device__ __forceinline__ Vector<ACC, WIDTH> operand(
    const REAL* x_or_null, const Axes& axes, ACC number, unsigned i, unsigned count) {
    const REAL* first = x_or_null + offset_of(axes, i);
    long long step = last_stride(axes);
    int left = min((long long)count - i, (long long)WIDTH);
    bool along = lie_along_last(axes, WIDTH);
    if (x_or_null && along && step == 1) return converted<ACC>(load_vector(first, left));
    Vector<ACC, WIDTH> values;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
        if (!x_or_null) values.at[k] = number;
        else if (k < left) values.at[k] = along ? first[k * step] : x_or_null[offset_of(axes, i + k)];
    }
    return values;
}

// One thread computes one vector of the output, in its memory order: reads what the operands hold, writes the output.
template <class Operation>
__device__ __forceinline__ void broadcast(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, const Axes& x_axes, const Axes& y_axes, ACC number,
    unsigned count, const Operation& operation) {
    long long first = global_thread() * WIDTH;
    Vector<ACC, WIDTH> x = operand(x_or_null, x_axes, number, first, count);
    Vector<ACC, WIDTH> y = operand(y_or_null, y_axes, number, first, count);
    store_vector(out + first, transformed<REAL, WIDTH>(operation, x, y), count - first);
}

// out = x + y.
extern "C" __global__ void __launch_bounds__(256) add_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, const __grid_constant__ Axes x_axes,
    const __grid_constant__ Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a + b; });
}

// out = x - y.
extern "C" __global__ void __launch_bounds__(256) sub_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, const __grid_constant__ Axes x_axes,
    const __grid_constant__ Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a - b; });
}

// out = x * y.
extern "C" __global__ void __launch_bounds__(256) mul_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, const __grid_constant__ Axes x_axes,
    const __grid_constant__ Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a * b; });
}

// out = x / y.
extern "C" __global__ void __launch_bounds__(256) div_forward(
    REAL* out, const REAL* x_or_null, const REAL* y_or_null, const __grid_constant__ Axes x_axes,
    const __grid_constant__ Axes y_axes, ACC number, unsigned count) {
    broadcast(out, x_or_null, y_or_null, x_axes, y_axes, number, count, [](ACC a, ACC b) { return a / b; });
}

// y = -x.
// Traffic: reads S bytes, writes S.
extern "C" __global__ void __launch_bounds__(256) neg(REAL* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) { return -x; }, x);
}
