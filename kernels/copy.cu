// Copies between memory layouts, and fills. ELEMENT is an unsigned integer as wide as the element, so one
// variant serves every dtype of that width and bits are moved unchanged.
// Bound: memory.
#ifndef ELEMENT
#error "define ELEMENT"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

constexpr int WIDTH = 16 / sizeof(ELEMENT);

// One thread writes one vector of 16 bytes, a warp 32 neighbouring ones, a block of 8 warps 4 KB.
// Traffic: writes every byte once.
extern "C" __global__ void __launch_bounds__(256) fill(ELEMENT* out, ELEMENT value, long long count) {
    each(out, count, [=] { return value; });
}

// One thread copies one element: number i of both operands, which are walked in one order with byte strides. Where one
// of them is misaligned, byte by byte; where both lie in runs along the last axis, it copies a vector of 16 bytes. A
// block of 8 warps copies 256 of them that follow each other in that order.
// Traffic: reads S bytes, writes S; where neighbours in that order are apart in memory, in sectors of 32 bytes, of
// which the caches keep the rest until other warps want it.
extern "C" __global__ void __launch_bounds__(256) copy_strided(
    unsigned char* out_bytes, const unsigned char* x_bytes, const __grid_constant__ Axes out_axes,
    const __grid_constant__ Axes x_axes, unsigned count, int aligned, int in_vectors) {
    unsigned i = (blockIdx.x * blockDim.x + threadIdx.x) * (in_vectors ? WIDTH : 1);
    if (i >= count) return;
    unsigned char* target = out_bytes + offset_of(out_axes, i);
    const unsigned char* source = x_bytes + offset_of(x_axes, i);
    if (in_vectors) {
        store_vector((ELEMENT*)target, load_vector((const ELEMENT*)source, count - i), count - i);
    } else if (aligned) {
        *(ELEMENT*)target = *(const ELEMENT*)source;
    } else {
        for (int byte = 0; byte < (int)sizeof(ELEMENT); ++byte) target[byte] = source[byte];
    }
}

// A tile of a matrix; narrow elements make large ones, so that a block has enough of them under way. A row of it has a
// word of 4 bytes more, or an element, so that the elements of a column lie in different banks of shared memory.
constexpr int SIDE = sizeof(ELEMENT) < 4 ? 64 : 32;
constexpr int PITCH = SIDE + (sizeof(ELEMENT) + 3) / sizeof(ELEMENT);
constexpr int STEP = 256 / SIDE;  // lines of a tile that a block of 256 threads covers at a time

// One block copies one tile of a matrix of rows x columns, by way of shared memory: neighbours along a row follow each
// other in out, neighbours along a column in x. A thread reads one element of each of several columns, and writes one of
// each of several rows; a warp 32 neighbours of each. Matrix number blockIdx.z begins where `out_axes` and `x_axes` lead.
// Strides count bytes, that of the rows in out and that of the columns in x.
// Traffic: reads S bytes, writes S.
extern "C" __global__ void __launch_bounds__(256) copy_transposed(
    unsigned char* out_bytes, const unsigned char* x_bytes, const __grid_constant__ Axes out_axes,
    const __grid_constant__ Axes x_axes, unsigned rows, unsigned columns, long long row_stride,
    long long column_stride) {
    __shared__ ELEMENT tile[SIDE][PITCH];
    unsigned first_row = blockIdx.y * SIDE, first_column = blockIdx.x * SIDE;
    unsigned line = threadIdx.x / SIDE, place = threadIdx.x % SIDE;
    const unsigned char* source = x_bytes + offset_of(x_axes, blockIdx.z);
    ELEMENT held[SIDE / STEP];  // all loads are under way together, so none is left out: outside, they repeat the last
#pragma unroll
    for (unsigned k = 0; k < SIDE / STEP; ++k) {
        unsigned row = min(first_row + place, rows - 1), column = min(first_column + line + k * STEP, columns - 1);
        held[k] = ((const ELEMENT*)(source + column * column_stride))[row];
    }
#pragma unroll
    for (unsigned k = 0; k < SIDE / STEP; ++k) tile[line + k * STEP][place] = held[k];
    __syncthreads();  // the columns are there
    unsigned column = first_column + place;
    unsigned char* target = out_bytes + offset_of(out_axes, blockIdx.z) + (first_row + line) * row_stride;
#pragma unroll
    for (unsigned row = line; row < SIDE; row += STEP, target += STEP * row_stride) {
        if (first_row + row < rows && column < columns) ((ELEMENT*)target)[column] = tile[place][row];
    }
}
