// Sliding windows over channels-last memory (N, D, H, W, C): the geometry that convolution and pooling share.

struct Window {
    int batch, channels, outputs, groups;  // channels and outputs of all groups together
    int in_size[3], out_size[3], window[3], stride[3], padding[3], dilation[3];
};

struct Pixel {
    int n, at[3];  // image; depth, row, column
};

// Pixel number `index` of a batch of images of the given size.
__device__ __forceinline__ Pixel pixel_of(unsigned index, const int (&size)[3]) {
    Pixel p;
    for (int axis = 2; axis >= 0; --axis) {
        p.at[axis] = index % size[axis];
        index /= size[axis];
    }
    p.n = index;
    return p;
}

// Number of a pixel, the inverse of pixel_of.
__device__ __forceinline__ long long index_of(const Pixel& p, const int (&size)[3]) {
    return (((long long)p.n * size[0] + p.at[0]) * size[1] + p.at[1]) * size[2] + p.at[2];
}

// Splits the number of a tap into its position in the window.
__device__ __forceinline__ void tap_position(int tap, const int (&window)[3], int (&position)[3]) {
    for (int axis = 2; axis >= 0; --axis) {
        position[axis] = tap % window[axis];
        tap /= window[axis];
    }
}

// Moves to the position of the next tap; beyond the last one there are no bounds.
__device__ __forceinline__ void next_tap(int (&position)[3], const int (&window)[3]) {
    for (int axis = 2; ++position[axis] == window[axis] && axis > 0; --axis) position[axis] = 0;
}

// The input pixel that output pixel `out` sees through the tap at a position; false if it lies in the padding.
__device__ __forceinline__ bool input_pixel(const Window& g, const Pixel& out, const int (&position)[3], Pixel& in) {
    bool inside = true;
    in.n = out.n;
    for (int axis = 0; axis < 3; ++axis) {
        in.at[axis] = out.at[axis] * g.stride[axis] - g.padding[axis] + position[axis] * g.dilation[axis];
        inside = inside && in.at[axis] >= 0 && in.at[axis] < g.in_size[axis];
    }
    return inside;
}

// The same through a tap of this number.
__device__ __forceinline__ bool input_pixel(const Window& g, const Pixel& out, int tap, Pixel& in) {
    int position[3];
    tap_position(tap, g.window, position);
    return input_pixel(g, out, position, in);
}

// The output pixel that sees input pixel `in` through a tap; false if there is none.
__device__ __forceinline__ bool output_pixel(const Window& g, const Pixel& in, int tap, Pixel& out) {
    int position[3];
    tap_position(tap, g.window, position);
    bool exists = true;
    out.n = in.n;
    for (int axis = 0; axis < 3; ++axis) {
        int start = in.at[axis] + g.padding[axis] - position[axis] * g.dilation[axis];
        out.at[axis] = start / g.stride[axis];
        exists = exists && start >= 0 && start % g.stride[axis] == 0 && out.at[axis] < g.out_size[axis];
    }
    return exists;
}

__device__ __forceinline__ int taps(const Window& g) { return g.window[0] * g.window[1] * g.window[2]; }
__device__ __forceinline__ int pixels(int batch, const int (&size)[3]) {
    return batch * size[0] * size[1] * size[2];
}
