// Reductions over the lanes of a warp, in one fixed order; every lane gets the result.

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
