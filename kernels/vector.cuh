// Vectors of neighbouring elements, moved by one access: 16 bytes, or fewer where a narrow type goes with a wide one.

template <class T, int COUNT = 16 / sizeof(T)>
struct alignas(COUNT * sizeof(T) < 16 ? COUNT * sizeof(T) : 16) Vector {
    T at[COUNT];
};

template <class V>
__device__ __forceinline__ bool is_aligned(const void* address) {
    return (unsigned long long)address % alignof(V) == 0;
}

// Move a whole vector, which must lie aligned. The emulator sees one access, and stops where that is misaligned.
template <class T, int COUNT = 16 / sizeof(T)>
__device__ __forceinline__ Vector<T, COUNT> load_vector(const T* address) {
#ifdef GPUNET_EMULATOR
    if (!is_aligned<Vector<T, COUNT>>(address)) gpunet_trap("a vector is loaded from a misaligned address");
    Vector<T, COUNT> vector;
    memcpy(&vector, address, sizeof vector);
    return vector;
#else
    return *(const Vector<T, COUNT>*)address;
#endif
}

template <class T, int COUNT>
__device__ __forceinline__ void store_vector(T* address, const Vector<T, COUNT>& vector) {
#ifdef GPUNET_EMULATOR
    if (!is_aligned<Vector<T, COUNT>>(address)) gpunet_trap("a vector is stored at a misaligned address");
    memcpy(address, &vector, sizeof vector);
#else
    *(Vector<T, COUNT>*)address = vector;
#endif
}

// Move the first `count` elements, or all: in one access where all of them are wanted and lie aligned, else one by one.
// The others are undefined after a load, and left alone by a store.
template <class T, int COUNT = 16 / sizeof(T)>
__device__ __forceinline__ Vector<T, COUNT> load_vector(const T* address, long long count) {
    if (count >= COUNT && is_aligned<Vector<T, COUNT>>(address)) return load_vector<T, COUNT>(address);
    Vector<T, COUNT> vector;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (i < count) vector.at[i] = address[i];
    }
    return vector;
}

template <class T, int COUNT>
__device__ __forceinline__ void store_vector(T* address, const Vector<T, COUNT>& vector, long long count) {
    if (count >= COUNT && is_aligned<Vector<T, COUNT>>(address)) return store_vector(address, vector);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
        if (i < count) address[i] = vector.at[i];
    }
}
