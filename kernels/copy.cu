// Copies between memory layouts, and fills. ELEMENT is an unsigned integer as wide as the element, so one
// variant serves every dtype of that width and bits are moved unchanged.
#ifndef ELEMENT
#error "define ELEMENT"
#endif
#include "common.cuh"

// One thread sets one element.
extern "C" __global__ void __launch_bounds__(256) fill(ELEMENT* out, ELEMENT value, long long count) {
    long long i = global_thread();
    if (i < count) out[i] = value;
}

// One thread copies one element to out[i], i in memory order of `out`; `axes` has the byte strides of x.
// A misaligned x is read byte by byte.
extern "C" __global__ void __launch_bounds__(256) copy_strided(
    ELEMENT* out, const unsigned char* x_bytes, Axes axes, unsigned count, int aligned) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const unsigned char* source = x_bytes + offset_of(axes, i);
    if (aligned) {
        out[i] = *(const ELEMENT*)source;
        return;
    }
    ELEMENT value = 0;
    for (int byte = 0; byte < (int)sizeof(ELEMENT); ++byte) value |= (ELEMENT)source[byte] << (8 * byte);
    out[i] = value;
}
