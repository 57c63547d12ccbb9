// Reductions over the lanes of a warp, and over a block, in one fixed order.

// Every lane gets the result.
__device__ __forceinline__ ACC warp_max(ACC value) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) {
        ACC other = __shfl_xor_sync(ALL_LANES, value, lanes);
        value = other > value || other != other ? other : value;  // NaN must not get lost
    }
    return value;
}

__device__ __forceinline__ ACC warp_sum(ACC value) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(ALL_LANES, value, lanes);
    return value;
}

// Sum over a block of THREADS threads in one fixed order; thread 0 gets it.
template <int THREADS>
__device__ __forceinline__ ACC block_sum(ACC value) {
    __shared__ ACC of_warp[THREADS / WARP];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) of_warp[threadIdx.x / WARP] = value;
    __syncthreads();  // every warp has written before thread 0 reads
    ACC sum = 0;
    if (threadIdx.x == 0) {
        for (int warp = 0; warp < THREADS / WARP; ++warp) sum += of_warp[warp];
    }
    return sum;
}
