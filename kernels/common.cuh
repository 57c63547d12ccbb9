// Shared by every kernel file. No CUDA header is needed: NVRTC and the emulator supply all that is used.

#define WARP 32
#define ALL_LANES 0xffffffffu
#define MAX_AXES 8  // must equal MAX_AXES of gpunet/backend/kernel_backend.py

// How to walk one operand: axis 0 is the slowest; strides count bytes or elements, as the kernel says.
struct Axes {
    int count;
    unsigned size[8];
    long long stride[8];
};

// Offset of the element that is number `index` when the axes are walked in order.
__device__ __forceinline__ long long offset_of(const Axes& axes, unsigned index) {
    long long offset = 0;
    for (int axis = axes.count - 1; axis > 0; --axis) {
        unsigned quotient = index / axes.size[axis];
        offset += (index - quotient * axes.size[axis]) * axes.stride[axis];
        index = quotient;
    }
    return axes.count ? offset + index * axes.stride[0] : 0;
}

// This thread's number in a one-dimensional grid, 64 bits wide.
__device__ __forceinline__ long long global_thread() {
    return (long long)blockIdx.x * blockDim.x + threadIdx.x;
}
