// Shared by every kernel file. No CUDA header is needed: NVRTC and the emulator supply all that is used.

#define WARP 32
#define ALL_LANES 0xffffffffu
#define MAX_AXES 8  // must equal MAX_AXES of gpunet/backend/kernel_backend.py

// The 16-bit types are storage only: a value is read as a float, and rounded once, to nearest even, when it is
// written. Without CUDA's headers, whose types these are not.
struct half {
    unsigned short bits;
    half() = default;
#ifdef GPUNET_EMULATOR
    half(float x) {
        _Float16 rounded = (_Float16)x;
        memcpy(&bits, &rounded, sizeof bits);
    }
    operator float() const {
        _Float16 value;
        memcpy(&value, &bits, sizeof bits);
        return value;
    }
#else
    __device__ half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    __device__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
#endif
};

// The upper half of a float. Rounding in integers, since only sm_80 and later have an instruction for it.
struct bfloat16 {
    unsigned short bits;
    bfloat16() = default;
    __device__ bfloat16(float x) {
        unsigned word = __float_as_uint(x);
        bits = x != x ? 0x7fc0 : (word + 0x7fff + (word >> 16 & 1)) >> 16;
    }
    __device__ operator float() const { return __uint_as_float((unsigned)bits << 16); }
};

// What values of type REAL are computed and summed in: float for the 16-bit types, else REAL itself.
#ifdef REAL
using ACC = decltype(REAL() + REAL());

// The larger of x and 0, or NaN.
__device__ __forceinline__ ACC rectified(ACC x) { return x <= 0 ? 0 : x; }
#endif

// How to walk one operand: axis 0 is the slowest; strides count bytes or elements, as the kernel says.
struct Axes {
    int count;
    unsigned size[8];
    long long stride[8];
};

// Offset of the element that is number `index` when the axes are walked in order; without axes there is number 0 only.
__device__ __forceinline__ long long offset_of(const Axes& axes, unsigned index) {
    long long offset = 0;
#pragma unroll 1
    for (int axis = axes.count - 1; axis > 0; --axis) {
        unsigned quotient = index / axes.size[axis];
        offset += (index - quotient * axes.size[axis]) * axes.stride[axis];
        index = quotient;
    }
    return offset + index * axes.stride[0];
}

// Whether `width` elements from each multiple of it on lie along the last axis, so that one offset leads to all.
__device__ __forceinline__ bool lie_along_last(const Axes& axes, unsigned width) {
    return axes.count <= 1 || axes.size[axes.count - 1] % width == 0;
}
__device__ __forceinline__ long long last_stride(const Axes& axes) { return axes.stride[max(axes.count - 1, 0)]; }

// This thread's number in a one-dimensional grid, 64 bits wide.
__device__ __forceinline__ long long global_thread() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}
