// Pooling windows, over the geometry of window.cuh. A stride of 0 marks an adaptive axis: its out_size windows divide
// the input as evenly as they can, and may share a border element; `window` is then the size of the largest.

struct Range {
    int begin, end;
};

// a / b, for a b that most often is 1 and the same for all threads.
__device__ __forceinline__ int quotient(int a, int b) { return b == 1 ? a : a / b; }

// What part number `i` of `parts` equal parts of an axis touches, where their borders may lie within an element. The
// host refuses sizes whose product needs more than 32 bits, since divisions of 64 bits make the kernels spill.
__device__ __forceinline__ Range part_of(unsigned size, unsigned i, unsigned parts) {
    return {(int)(i * size / parts), (int)(((i + 1) * size + parts - 1) / parts)};
}

// The input positions from an output's first tap to its last, along one axis; some may lie in the padding.
__device__ __forceinline__ Range window_of(const Window& g, int axis, int out) {
    if (g.stride[axis] == 0) return part_of(g.in_size[axis], out, g.out_size[axis]);
    int begin = out * g.stride[axis] - g.padding[axis];
    return {begin, begin + (g.window[axis] - 1) * g.dilation[axis] + 1};
}

// The outputs in whose window, or between whose taps, an input position lies, along one axis.
__device__ __forceinline__ Range outputs_of(const Window& g, int axis, int in) {
    if (g.stride[axis] == 0) return part_of(g.out_size[axis], in, g.in_size[axis]);
    int position = in + g.padding[axis], reach = (g.window[axis] - 1) * g.dilation[axis] + 1;
    int begin = position < reach ? 0 : quotient(position - reach, g.stride[axis]) + 1;
    return {begin, min(quotient(position, g.stride[axis]) + 1, g.out_size[axis])};
}

// One output's window along all axes.
struct Box {
    Range axis[3];
    __device__ Box(const Window& g, const Pixel& out) {
        for (int a = 0; a < 3; ++a) axis[a] = window_of(g, a, out.at[a]);
    }
};

// The input pixel behind a tap of a window; false if that lies in the padding or, on an adaptive axis, behind the end.
__device__ __forceinline__ bool pixel_behind(const Window& g, const Box& box, int tap, Pixel& in) {
    int position[3];
    tap_position(tap, g.window, position);
    bool inside = true;
    for (int a = 0; a < 3; ++a) {
        in.at[a] = box.axis[a].begin + position[a] * g.dilation[a];
        inside = inside && in.at[a] >= 0 && in.at[a] < min(box.axis[a].end, g.in_size[a]);
    }
    return inside;
}

// A block's threads are blockDim.x neighbouring vectors of channels, times blockDim.y pixels. In forward kernels
// blockDim.z rows of threads share each window: each takes adjacent taps, and the rows' results are joined in order.
#define POOL_THREADS 256

__device__ __forceinline__ unsigned own_pixel() { return blockIdx.x * blockDim.y + threadIdx.y; }
__device__ __forceinline__ int own_thread() {
    return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}

// Where a pixel's channels begin. The host sees to it that 31 bits count all pixels.
__device__ __forceinline__ long long start_of(const Window& g, const Pixel& p, const int (&size)[3]) {
    return (long long)(((p.n * size[0] + p.at[0]) * size[1] + p.at[1]) * size[2] + p.at[2]) * g.channels;
}

// This row's share of the taps of output `out`, in order: work(tap, where the input pixel behind it begins).
template <class Work>
__device__ __forceinline__ void each_tap(const Window& g, const Pixel& out, Work work) {
    long long count = taps(g);
    int tap = threadIdx.z * count / blockDim.z, end = (threadIdx.z + 1) * count / blockDim.z;
    Box box(g, out);
    int position[3];
    tap_position(tap, g.window, position);
#pragma unroll 1
    for (; tap < end; ++tap) {
        Pixel in = out;
        bool inside = true;
        for (int a = 0; a < 3; ++a) {
            in.at[a] = box.axis[a].begin + position[a] * g.dilation[a];
            inside = inside && in.at[a] >= 0 && in.at[a] < min(box.axis[a].end, g.in_size[a]);
        }
        if (inside) work(tap, start_of(g, in, g.in_size));
        for (int a = 2; a >= 0 && ++position[a] == g.window[a]; --a) position[a] = 0;
    }
}
