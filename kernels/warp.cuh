// Sums over the lanes of a warp, and over a block, in one fixed order.

// Every lane gets the sum.
__device__ __forceinline__ ACC warp_sum(ACC value) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(ALL_LANES, value, lanes);
    return value;
}

// Sums over a block of at most THREADS threads, several at once, in one fixed order; every thread gets them. Once per kernel:
// a second call would need another barrier.
template <int THREADS, int COUNT>
__device__ __forceinline__ void block_sum(ACC (&values)[COUNT]) {
    __shared__ ACC of_warp[COUNT][THREADS / WARP];
    for (int k = 0; k < COUNT; ++k) {
        values[k] = warp_sum(values[k]);
        if (threadIdx.x % WARP == 0) of_warp[k][threadIdx.x / WARP] = values[k];
    }
    __syncthreads();  // every warp has written before all threads read
    for (int k = 0; k < COUNT; ++k) {
        values[k] = 0;
        for (int warp = 0; warp < blockDim.x / WARP; ++warp) values[k] += of_warp[k][warp];
    }
}
