// Sums over axes in a fixed order: no atomics, the same bits in every run. Partial sums are ACC, so OUT is what is
// written: ACC by a pass whose splits are summed later, REAL by the last one.
#ifndef REAL
#error "define REAL"
#endif
#ifndef OUT
#error "define OUT"
#endif
#include "common.cuh"

#define COLUMNS 32
#define ROWS 8

// A block of 32 x 8 threads makes 32 outputs; the 8 threads of a column share the summands of this block's
// split (blockIdx.y), thread row r taking summands r, r + 8, ... out[split][output] is in memory order: the sum over
// the split, divided by `divisor`.
extern "C" __global__ void __launch_bounds__(256) sum_axes(
    OUT* out, const REAL* x, Axes kept, Axes summed, unsigned outputs, unsigned summands, unsigned per_split,
    ACC divisor) {
    __shared__ ACC partial[ROWS][COLUMNS];
    unsigned output = blockIdx.x * COLUMNS + threadIdx.x;
    unsigned start = blockIdx.y * per_split, count = min(per_split, summands - start);
    ACC sum = 0;
    if (output < outputs) {
        const REAL* first = x + offset_of(kept, output);
        for (unsigned i = threadIdx.y; i < count; i += ROWS) sum += first[offset_of(summed, start + i)];
    }
    partial[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();  // all rows have written before row 0 reads
    if (threadIdx.y == 0 && output < outputs) {
        for (int row = 1; row < ROWS; ++row) sum += partial[row][threadIdx.x];
        out[(long long)blockIdx.y * outputs + output] = sum / divisor;
    }
}
