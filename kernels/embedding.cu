// Rows of a table by their indices, and the gradient of the table. A thread has the columns of one vector of 16 bytes;
// blockDim.x of them lie along a row as lanes, so that a warp has one row, or several narrow ones.
#ifndef REAL
#error "define REAL"
#endif
#ifndef OUT
#error "define OUT"
#endif
#include "common.cuh"
#include "vector.cuh"

#define PER_VECTOR (16 / (int)sizeof(REAL))  // columns of a thread
#define THREADS 256
#define ROWS 16      // of the table, whose gradients a block makes; as in gpunet/ops/embedding.py
#define COLUMNS 256  // ... at most

// y[n] = weight[indices[n]]. A line of lanes copies one row, a block THREADS / lanes of them. An index that does not
// exist gives zeros, and writes `code` to the error word.
// Bound: memory.
// Traffic: reads the indices and a row of the table each, and writes it.
extern "C" __global__ void __launch_bounds__(THREADS) embedding_forward(
    REAL* y, const REAL* weight, const long long* indices, long long count, int rows, int width, int* error, int code) {
    long long n = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    if (n >= count) return;
    long long index = indices[n];
    bool exists = index >= 0 && index < rows;
    if (!exists) atomicCAS(error, 0, code);
    for (int column = threadIdx.x * PER_VECTOR; column < width; column += blockDim.x * PER_VECTOR) {
        Vector<REAL> part = {};
        if (exists) part = load_vector(weight + index * width + column, width - column);
        store_vector(y + n * width + column, part, width - column);
    }
}

// The gradient of ROWS rows of the table in up to COLUMNS columns, from one split of the indices: out[split] is a whole
// gradient, and splits are added by sum_axes. A block looks at the indices, THREADS at a time, for those of its rows,
// and adds the rows of gy there, in the order of the indices. Each sum has one thread that owns it: the rows are dealt
// out to the lines of lanes in turn. The row `padding` gets none.
// Without the 1 in the launch bounds, the assembler spills a register.
// Bound: memory, or where few rows have most of the indices, the time that their blocks take for one row of gy after the
// other.
// Traffic: reads gy once and writes the gradient once; reads the indices once per block, from the L2 cache.
extern "C" __global__ void __launch_bounds__(THREADS, 1) embedding_backward(
    OUT* out, const REAL* gy, const long long* indices, long long count, int rows, int width, long long padding,
    long long per_split) {
    __shared__ ACC sums[ROWS * COLUMNS];
    __shared__ unsigned found[THREADS / WARP];  // one bit for each index that names a row of this block
    __shared__ int names[THREADS];              // ... and which
    int lanes = blockDim.x, thread = threadIdx.y * lanes + threadIdx.x;
    int column = (blockIdx.y * lanes + threadIdx.x) * PER_VECTOR;
    long long first = (long long)blockIdx.x * ROWS;
    auto sum = [&](int row, int k) -> ACC& { return sums[(k * ROWS + row) * lanes + threadIdx.x]; };
    for (int row = threadIdx.y; row < ROWS; row += blockDim.y) {
#pragma unroll
        for (int k = 0; k < PER_VECTOR; ++k) sum(row, k) = 0;
    }
    long long begin = blockIdx.z * per_split, end = min(begin + per_split, count);
    for (long long n0 = begin; n0 < end; n0 += THREADS) {
        long long index = n0 + thread < end ? indices[n0 + thread] : -1;
        unsigned mask = __ballot_sync(ALL_LANES, index >= first && index < first + ROWS && index != padding);
        if (thread % WARP == 0) found[thread / WARP] = mask;
        names[thread] = index - first;
        __syncthreads();  // the indices have been looked at
        for (int warp = 0; warp < THREADS / WARP; ++warp) {
            for (unsigned left = found[warp]; left; left &= left - 1) {
                int which = warp * WARP + __ffs(left) - 1, row = names[which];
                if (row % blockDim.y != threadIdx.y) continue;
                auto part = load_vector(gy + (n0 + which) * width + column, width - column);
#pragma unroll
                for (int k = 0; k < PER_VECTOR; ++k) sum(row, k) += part.at[k];  // those beyond the width are not stored
            }
        }
        __syncthreads();  // everybody has read what was found before the next is looked for
    }
    for (int row = threadIdx.y; row < ROWS && first + row < rows; row += blockDim.y) {
        Vector<OUT, PER_VECTOR> total;
#pragma unroll
        for (int k = 0; k < PER_VECTOR; ++k) total.at[k] = sum(row, k);
        store_vector(out + ((blockIdx.z * (long long)rows + first + row) * width + column), total, width - column);
    }
}
