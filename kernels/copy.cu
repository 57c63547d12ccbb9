// Copies between memory layouts, and fills. ELEMENT is an unsigned integer as wide as the element, so one
// variant serves every dtype of that width and bits are moved unchanged.
// Bound: memory.
#ifndef ELEMENT
#error "define ELEMENT"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

// One thread writes one vector of 16 bytes, a warp 32 neighbouring ones, a block of 8 warps 4 KB.
// Traffic: writes every byte once.
extern "C" __global__ void __launch_bounds__(256) fill(ELEMENT* out, ELEMENT value, long long count) {
    each(out, count, [=] { return value; });
}

// One thread copies one element: number i of both operands, which are walked in one order with byte strides. Where one
// of them is misaligned, byte by byte. A block of 8 warps copies 256 elements that follow each other in that order.
// Traffic: reads S bytes, writes S; where neighbours in that order are apart in memory, in sectors of 32 bytes, of
// which the caches keep the rest until other warps want it.
extern "C" __global__ void __launch_bounds__(256) copy_strided(
    unsigned char* out_bytes, const unsigned char* x_bytes, const __grid_constant__ Axes out_axes,
    const __grid_constant__ Axes x_axes, unsigned count, int aligned) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    unsigned char* target = out_bytes + offset_of(out_axes, i);
    const unsigned char* source = x_bytes + offset_of(x_axes, i);
    if (aligned) {
        *(ELEMENT*)target = *(const ELEMENT*)source;
        return;
    }
    for (int byte = 0; byte < (int)sizeof(ELEMENT); ++byte) target[byte] = source[byte];
}
