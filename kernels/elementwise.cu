// Elementwise ops. Operands without strides are dense in one common layout, so order does not matter.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"

// One thread adds one pair; `x_axes` and `y_axes` walk the operands in memory order of the output, with
// element strides that are 0 along broadcast axes.
extern "C" __global__ void __launch_bounds__(256) add_forward(
    REAL* out, const REAL* x, const REAL* y, Axes x_axes, Axes y_axes, unsigned count) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = x[offset_of(x_axes, i)] + y[offset_of(y_axes, i)];
}
