// Convolution as implicit GEMM in tiles, for channels that come in whole chunks of 16 bytes.
// Activations are channels-last (N, D, H, W, C), weights (O, KD, KH, KW, C / groups), as in conv.cu. A block makes one
// tile; tiles.cuh shows what its warps and threads make.
// Bound: arithmetic, at the rate of mma.sync or of fused multiply-adds: 2 * pixels * outputs * taps * channels / groups
// operations.
#ifndef REAL
#error "define REAL"
#endif
#ifndef TILE
#error "define TILE"
#endif
#include "common.cuh"
#include "tiles.cuh"
#include "window.cuh"

// The taps of a window that concern a block, walked in order: for each of them, all channels in slices. Positions and
// shifts (what a tap adds to a pixel's place) move by a constant step along each axis.
struct Taps {
    int first[3], step[3], last[3];
    int first_shift[3], shift_step[3];
    int channels, tap_positions[3], shift[3], channel;

    __device__ int count() const {
        int taps = 1;
        for (int axis = 0; axis < 3; ++axis) taps *= (last[axis] - first[axis]) / step[axis] + 1;
        return taps * ((channels + Shape::DEPTH - 1) / Shape::DEPTH);
    }

    __device__ void start() {
        channel = 0;
        for (int axis = 0; axis < 3; ++axis) {
            tap_positions[axis] = first[axis];
            shift[axis] = first_shift[axis];
        }
    }

    __device__ void advance() {
        channel += Shape::DEPTH;
        if (channel < channels) return;
        channel = 0;
#pragma unroll
        for (int axis = 2; axis >= 0; --axis) {
            tap_positions[axis] += step[axis];
            shift[axis] += shift_step[axis];
            if (tap_positions[axis] <= last[axis]) return;
            tap_positions[axis] = first[axis];
            shift[axis] = first_shift[axis];
        }
    }

    __device__ int tap(const int (&window)[3]) const {
        return (tap_positions[0] * window[1] + tap_positions[1]) * window[2] + tap_positions[2];
    }
};

// Rows of A: what the pixels of a tile see through the current tap, in an image of `channels` channels in all, of which
// those from `first_channel` on are this group's.
struct SeenPixels {
    using A = Slice<Shape::M, true>;
    const REAL* image[A::PER_THREAD];  // and the place in it that a tap with shift 0 sees
    int at[A::PER_THREAD][3];

    __device__ void set(int i, const REAL* first_image, const Pixel& pixel, const int (&size)[3], int channels,
                        const int (&scale)[3], bool exists) {
        image[i] = first_image + (long long)pixel.n * size[0] * size[1] * size[2] * channels + A::own_chunk() * CHUNK;
        for (int axis = 0; axis < 3; ++axis) at[i][axis] = pixel.at[axis] * scale[axis];
        if (!exists) at[i][0] = 1 << 30;  // beyond any image, whatever the shift
    }

    __device__ const REAL* chunk(int i, const Taps& taps, const int (&size)[3], int channels) const {
        if (taps.channel + A::own_chunk() * CHUNK >= taps.channels) return nullptr;
        int depth = at[i][0] + taps.shift[0], row = at[i][1] + taps.shift[1], column = at[i][2] + taps.shift[2];
        if ((unsigned)depth >= size[0] || (unsigned)row >= size[1] || (unsigned)column >= size[2]) return nullptr;
        return image[i] + (long long)((depth * size[1] + row) * size[2] + column) * channels + taps.channel;
    }
};

struct ForwardSource {
    using A = Slice<Shape::M, true>;
    using B = Slice<Shape::N, true>;
    const REAL *a_memory, *b_memory;
    const Window& g;
    Taps taps;
    SeenPixels seen;
    int n0, outputs, first_output;

    __device__ const REAL* a_chunk(int i) const { return seen.chunk(i, taps, g.in_size, g.channels); }
    __device__ const REAL* b_chunk(int i) const {
        int output = n0 + B::own_line(i), channel = taps.channel + B::own_chunk() * CHUNK;
        if (output >= outputs || channel >= taps.channels) return nullptr;
        long long row = (long long)(first_output + output) * ::taps(g) + taps.tap(g.window);
        return b_memory + row * taps.channels + channel;
    }
    __device__ void advance() { taps.advance(); }
};

// One block makes a tile of output pixels x output channels of one group.
// Traffic: x is read once per tap and Shape::N outputs, the weights once per Shape::M pixels, most often from the L2
// cache; y is written once.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_conv_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, Window g) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N, group = blockIdx.z;
    int channels = g.channels / g.groups, outputs = g.outputs / g.groups, M = pixels(g.batch, g.out_size);
    ForwardSource source{x, w, g};
    source.n0 = n0, source.outputs = outputs, source.first_output = group * outputs;
    source.taps.channels = channels;
    for (int axis = 0; axis < 3; ++axis) {
        source.taps.first[axis] = 0, source.taps.step[axis] = 1, source.taps.last[axis] = g.window[axis] - 1;
        source.taps.first_shift[axis] = -g.padding[axis], source.taps.shift_step[axis] = g.dilation[axis];
    }
    source.taps.start();
#pragma unroll
    for (int i = 0; i < ForwardSource::A::PER_THREAD; ++i) {
        int m = m0 + ForwardSource::A::own_line(i);
        source.seen.set(i, x + group * channels, pixel_of(m, g.out_size), g.in_size, g.channels, g.stride, m < M);
    }
    Product::Sums sums = {};
    multiply_slices(sums, source, source.taps.count());
    int first = group * outputs;
    auto row = [&](int m) { return m0 + m < M ? y + (long long)(m0 + m) * g.outputs + first : nullptr; };
    Product::store<ForwardSource::A, ForwardSource::B>(sums, n0, outputs, row, [&](int n) { return bias_or_null ? (float)bias_or_null[first + n] : 0.0f; });
}

struct InputGradientSource {
    using A = Slice<Shape::M, true>;
    using B = Slice<Shape::N, false>;
    const REAL *a_memory, *b_memory;
    const Window& g;
    Taps taps;  // its channels are the outputs
    SeenPixels seen;
    int n0, channels, first_output;

    __device__ const REAL* a_chunk(int i) const { return seen.chunk(i, taps, g.out_size, g.outputs); }
    __device__ const REAL* b_chunk(int i) const {
        int output = taps.channel + B::own_line(i), channel = n0 + B::own_chunk() * CHUNK;
        if (output >= taps.channels || channel >= channels) return nullptr;
        long long row = (long long)(first_output + output) * ::taps(g) + taps.tap(g.window);
        return b_memory + row * channels + channel;
    }
    __device__ void advance() { taps.advance(); }
};

// One block makes a tile of input pixels x input channels of one group. Input pixels whose place is equal modulo the
// stride see the same taps, so each such class (its number is part of blockIdx.z) is a convolution of its own: pixel
// `phase + stride * i` sees output `i + shift` through the taps for which (phase + padding - position * dilation) is a
// multiple of the stride. With a bias it is the forward of transposed convolution.
// Traffic: gy is read once per tap and Shape::N channels, the weights once per Shape::M pixels of each class, most
// often from the L2 cache; gx is written once.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_conv_backward_input(
    REAL* gx, const REAL* gy, const REAL* w, const REAL* bias_or_null, Window g) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N, group = blockIdx.z % g.groups;
    int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
    InputGradientSource source{gy, w, g};
    source.n0 = n0, source.channels = channels, source.first_output = group * outputs;
    source.taps.channels = outputs;
    int phase[3], size[3], classes = blockIdx.z / g.groups;  // size: the pixels of the class
    for (int axis = 2; axis >= 0; --axis) {
        int stride = g.stride[axis];
        phase[axis] = classes % stride;
        classes /= stride;
        size[axis] = (g.in_size[axis] - phase[axis] + stride - 1) / stride;
        // Taps that fit follow each other in steps of stride / gcd(stride, dilation).
        int first = 0, step = 1, at = phase[axis] + g.padding[axis];
        while (first < g.window[axis] && (at - first * g.dilation[axis]) % stride) ++first;
        while (step * g.dilation[axis] % stride) ++step;
        source.taps.first[axis] = first, source.taps.step[axis] = step;
        source.taps.last[axis] = first + (g.window[axis] - 1 - first) / step * step;
        source.taps.first_shift[axis] = (at - first * g.dilation[axis]) / stride;
        source.taps.shift_step[axis] = -(step * g.dilation[axis] / stride);
    }
    int M = pixels(g.batch, size), none = 0;
    if (m0 >= M) return;  // a class smaller than the largest
    for (int axis = 0; axis < 3; ++axis) none |= source.taps.first[axis] >= g.window[axis];
    const int one[3] = {1, 1, 1};
    source.taps.start();
#pragma unroll
    for (int i = 0; i < InputGradientSource::A::PER_THREAD; ++i) {
        int m = m0 + InputGradientSource::A::own_line(i);
        source.seen.set(i, gy + group * outputs, pixel_of(m, size), g.out_size, g.outputs, one, m < M);
    }
    Product::Sums sums = {};
    multiply_slices(sums, source, none ? 0 : source.taps.count());
    int first = group * channels;
    auto row = [&](int m) -> REAL* {
        if (m0 + m >= M) return nullptr;
        Pixel pixel = pixel_of(m0 + m, size);
        for (int axis = 0; axis < 3; ++axis) pixel.at[axis] = pixel.at[axis] * g.stride[axis] + phase[axis];
        return gx + index_of(pixel, g.in_size) * g.channels + first;
    };
    Product::store<InputGradientSource::A, InputGradientSource::B>(sums, n0, channels, row, [&](int n) { return bias_or_null ? (float)bias_or_null[first + n] : 0.0f; });
}

// Adds a number of pixels to a pixel; both as places in images of `size`, so that no digit carries more than one.
__device__ __forceinline__ void move_on(Pixel& pixel, const Pixel& by, const int (&size)[3]) {
    pixel.n += by.n;
    int carry = 0;
#pragma unroll
    for (int axis = 2; axis >= 0; --axis) {
        pixel.at[axis] += by.at[axis] + carry;
        carry = pixel.at[axis] >= size[axis];
        if (carry) pixel.at[axis] -= size[axis];
    }
    pixel.n += carry;
}

struct WeightGradientSource {
    using A = Slice<Shape::M, false>;
    using B = Slice<Shape::N, false>;
    const REAL *a_memory, *b_memory;
    const Window& g;
    int pixel, end;        // the first one of the current slice; the end of this split
    int output, outputs;   // this thread's chunk of output channels; how many there are in the group
    int channel, shift[3]; // this thread's chunk of weights: input channel, and what its tap adds to a pixel's place
    bool exists;
    Pixel seen[B::PER_THREAD], slice;

    __device__ const REAL* a_chunk(int i) const {
        int line = pixel + A::own_line(i);
        return line < end && output < outputs ? a_memory + (long long)line * g.outputs + output : nullptr;
    }
    __device__ const REAL* b_chunk(int i) const {
        if (!exists || pixel + B::own_line(i) >= end) return nullptr;
        Pixel in = seen[i];
        for (int axis = 0; axis < 3; ++axis) {
            in.at[axis] = in.at[axis] * g.stride[axis] + shift[axis];
            if ((unsigned)in.at[axis] >= g.in_size[axis]) return nullptr;
        }
        return b_memory + index_of(in, g.in_size) * g.channels + channel;
    }
    __device__ void advance() {
        pixel += Shape::DEPTH;
#pragma unroll
        for (int i = 0; i < B::PER_THREAD; ++i) move_on(seen[i], slice, g.out_size);
    }
};

// One block makes a tile of output channels x weights of one group from one split of the output pixels: of the
// gradient, or of partials[split], whose sum over the splits is the gradient.
// Traffic: gy is read once per Shape::N weights, x once per tap and Shape::M outputs, most often from the L2 cache; the
// gradient is written once, partials once per split, as floats.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_conv_backward_weight(
    REAL* gw_or_null, float* partials_or_null, const REAL* gy, const REAL* x, Window g, int per_split) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N, group = blockIdx.z % g.groups;
    int split = blockIdx.z / g.groups;
    int channels = g.channels / g.groups, outputs = g.outputs / g.groups, weights = taps(g) * channels;
    int begin = split * per_split, end = min(begin + per_split, pixels(g.batch, g.out_size));
    using Source = WeightGradientSource;
    Source source{gy + group * outputs, x + group * channels, g, begin, end};
    source.output = m0 + Source::A::own_chunk() * CHUNK, source.outputs = outputs;
    int weight = n0 + Source::B::own_chunk() * CHUNK, position[3];
    source.exists = weight < weights;
    source.channel = weight % channels;
    tap_position(weight / channels, g.window, position);
    for (int axis = 0; axis < 3; ++axis) source.shift[axis] = position[axis] * g.dilation[axis] - g.padding[axis];
    source.slice = pixel_of(Shape::DEPTH, g.out_size);
#pragma unroll
    for (int i = 0; i < Source::B::PER_THREAD; ++i)
        source.seen[i] = pixel_of(begin + Source::B::own_line(i), g.out_size);
    Product::Sums sums = {};
    multiply_slices(sums, source, (end - begin + Shape::DEPTH - 1) / Shape::DEPTH);
    auto none = [](int) { return 0.0f; };
    int first = group * outputs;
    if (partials_or_null) {
        float* own = partials_or_null + (split * (long long)g.outputs + first) * weights;
        auto row = [&](int m) { return m0 + m < outputs ? own + (long long)(m0 + m) * weights : nullptr; };
        Product::store<Source::A, Source::B>(sums, n0, weights, row, none);
    } else {
        REAL* own = gw_or_null + (long long)first * weights;
        auto row = [&](int m) { return m0 + m < outputs ? own + (long long)(m0 + m) * weights : nullptr; };
        Product::store<Source::A, Source::B>(sums, n0, weights, row, none);
    }
}
