// Pooling windows, over the geometry of window.cuh. A stride of 0 marks an adaptive axis: its out_size windows divide
// the input as evenly as they can, and may share a border element; `window` is then the size of the largest.

struct Range {
    int begin, end;
};

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
    int begin = position < reach ? 0 : (position - reach) / g.stride[axis] + 1;
    return {begin, min(position / g.stride[axis] + 1, g.out_size[axis])};
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

// Forward kernels give output number global_thread() to a column of threads: its blockDim.y rows share the window, each
// takes adjacent taps, and the rows' results are joined in their order.
#define POOL_THREADS 256

__device__ __forceinline__ Range taps_of_row(const Window& g) {
    long long count = taps(g);
    return {(int)(threadIdx.y * count / blockDim.y), (int)((threadIdx.y + 1) * count / blockDim.y)};
}
__device__ __forceinline__ long long outputs(const Window& g) {
    return (long long)pixels(g.batch, g.out_size) * g.channels;
}
