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
    int channels, position[3], shift[3], channel;

    __device__ int count() const {
        int taps = 1;
        for (int axis = 0; axis < 3; ++axis) taps *= (last[axis] - first[axis]) / step[axis] + 1;
        return taps * ((channels + Shape::DEPTH - 1) / Shape::DEPTH);
    }

    __device__ void start() {
        channel = 0;
        for (int axis = 0; axis < 3; ++axis) {
            position[axis] = first[axis];
            shift[axis] = first_shift[axis];
        }
    }

    // Goes on to the next slice; says whether it is one of another tap.
    __device__ bool advance() {
        channel += Shape::DEPTH;
        if (channel < channels) return false;
        channel = 0;
#pragma unroll
        for (int axis = 2; axis >= 0; --axis) {
            position[axis] += step[axis];
            shift[axis] += shift_step[axis];
            if (position[axis] <= last[axis]) break;
            position[axis] = first[axis];
            shift[axis] = first_shift[axis];
        }
        return true;
    }

    __device__ int tap(const int (&window)[3]) const {
        return (position[0] * window[1] + position[1]) * window[2] + position[2];
    }
};

// Rows of A: what the pixels of a tile see through a tap, in images of `size` with all groups' channels.
struct SeenPixels {
    using A = Slice<Shape::M, true>;
    const REAL* unshifted[A::PER_THREAD];  // this thread's chunk of the pixel that a tap without a shift sees
    int at[A::PER_THREAD][3];
    unsigned inside;   // bit i: the current tap sees a pixel in the image
    long long offset;  // that its shift and the current channel add to an address

    __device__ void set(int i, const REAL* images, const Pixel& pixel, const int (&size)[3], int all_channels,
                        const int (&scale)[3], bool exists) {
        Pixel seen = {pixel.n};
        for (int axis = 0; axis < 3; ++axis) at[i][axis] = seen.at[axis] = pixel.at[axis] * scale[axis];
        unshifted[i] = images + index_of(seen, size) * all_channels + A::own_chunk() * CHUNK;
        if (!exists) at[i][0] = 1 << 30;  // beyond any image, whatever the shift
    }

    __device__ void look(const Taps& taps, const int (&size)[3], int all_channels) {
        const Pixel shift = {0, {taps.shift[0], taps.shift[1], taps.shift[2]}};
        offset = index_of(shift, size) * all_channels;
        inside = 0;
#pragma unroll
        for (int i = 0; i < A::PER_THREAD; ++i) {
            bool sees = true;
            for (int axis = 0; axis < 3; ++axis) sees = sees && (unsigned)(at[i][axis] + taps.shift[axis]) < size[axis];
            inside |= (unsigned)sees << i;
        }
    }

    __device__ const REAL* chunk(int i, bool& exists, const Taps& taps) const {
        exists = inside >> i & 1 && taps.channel + A::own_chunk() * CHUNK < taps.channels;
        return unshifted[i] + offset + taps.channel;
    }
};

// Slices of forward (weights along the depth) and of the input gradient (weights along the input channels).
template <bool BACKWARD>
struct TapSource {
    using A = Slice<Shape::M, true>;
    using B = Slice<Shape::N, !BACKWARD>;
    const Window& g;
    Taps taps;  // whose channels are those of what is read: x, or gy
    SeenPixels seen;
    const REAL* weights;   // this thread's chunk of its first line, for tap and channel 0
    long long step;        // elements to its next line
    long long offset;      // of the current tap and channel
    int made_left;         // channels that are made, from that chunk or line on

    __device__ TapSource(const Window& g, const REAL* w, int group, int n0) : g(g) {
        int channels = g.channels / g.groups, outputs = g.outputs / g.groups;
        int line = B::own_line(0), along = B::own_chunk() * CHUNK;
        taps.channels = BACKWARD ? outputs : channels;
        int output = BACKWARD ? line : n0 + line, channel = BACKWARD ? n0 + along : along;
        weights = w + (long long)(group * outputs + output) * ::taps(g) * channels + channel;
        step = (long long)B::LINE_STEP * ::taps(g) * channels;
        made_left = BACKWARD ? channels - channel : outputs - output;
    }

    // Prepares for the current slice; what depends on the tap alone is made once for it.
    __device__ void look(bool another_tap) {
        if (another_tap) seen.look(taps, BACKWARD ? g.out_size : g.in_size, BACKWARD ? g.outputs : g.channels);
        long long line = taps.tap(g.window) + (BACKWARD ? (long long)taps.channel * ::taps(g) : 0);
        offset = line * (g.channels / g.groups) + (BACKWARD ? 0 : taps.channel);
    }

    __device__ const REAL* a_chunk(int i, bool& exists) const { return seen.chunk(i, exists, taps); }
    __device__ const REAL* b_chunk(int i, bool& exists) const {
        int read_left = taps.channels - taps.channel - (BACKWARD ? B::own_line(i) : B::own_chunk() * CHUNK);
        exists = read_left > 0 && (BACKWARD ? 0 : i * B::LINE_STEP) < made_left;
        return weights + offset + i * step;
    }
    __device__ void advance() { look(taps.advance()); }
};

// One block makes a tile of output pixels x output channels of one group.
// Traffic: x is read once per tap and Shape::N outputs, the weights once per Shape::M pixels, most often from the L2
// cache; y is written once, clipped by ReLU if that is wanted.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) tiled_conv_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, int relu, Window g) {
    int m0 = blockIdx.x * Shape::M, n0 = blockIdx.y * Shape::N, group = blockIdx.z;
    int channels = g.channels / g.groups, outputs = g.outputs / g.groups, M = pixels(g.batch, g.out_size);
    using Source = TapSource<false>;
    Source source(g, w, group, n0);
    for (int axis = 0; axis < 3; ++axis) {
        source.taps.first[axis] = 0, source.taps.step[axis] = 1, source.taps.last[axis] = g.window[axis] - 1;
        source.taps.first_shift[axis] = -g.padding[axis], source.taps.shift_step[axis] = g.dilation[axis];
    }
    source.taps.start();
#pragma unroll
    for (int i = 0; i < Source::A::PER_THREAD; ++i) {
        int m = m0 + Source::A::own_line(i);
        source.seen.set(i, x + group * channels, pixel_of(m, g.out_size), g.in_size, g.channels, g.stride, m < M);
    }
    source.look(true);
    Product::Sums sums = {};
    multiply_slices(sums, source, source.taps.count());
    int first = group * outputs;
    auto row = [&](int m) { return m0 + m < M ? y + (long long)(m0 + m) * g.outputs + first : nullptr; };
    Product::store<Source::A, Source::B>(sums, n0, outputs, row, {bias_or_null ? bias_or_null + first : nullptr, relu});
}

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
    using Source = TapSource<true>;
    Source source(g, w, group, n0);
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
    for (int i = 0; i < Source::A::PER_THREAD; ++i) {
        int m = m0 + Source::A::own_line(i);
        source.seen.set(i, gy + group * outputs, pixel_of(m, size), g.out_size, g.outputs, one, m < M);
    }
    source.look(true);
    Product::Sums sums = {};
    multiply_slices(sums, source, none ? 0 : source.taps.count());
    int first = group * channels;
    auto row = [&](int m) -> REAL* {
        if (m0 + m >= M) return nullptr;
        Pixel pixel = pixel_of(m0 + m, size);
        for (int axis = 0; axis < 3; ++axis) pixel.at[axis] = pixel.at[axis] * g.stride[axis] + phase[axis];
        return gx + index_of(pixel, g.in_size) * g.channels + first;
    };
    Product::store<Source::A, Source::B>(sums, n0, channels, row, {bias_or_null ? bias_or_null + first : nullptr, 0});
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
    const Window& g;
    Lines<A> gradient;
    const REAL* x;
    bool exists;               // this thread's chunk of weights: of an input channel, and a tap that adds `shift`
    int channel, shift[3];
    int left;                  // output pixels from its next line on, in this split
    Pixel out, step;           // the pixel of that line; lines as a number of pixels

    __device__ const REAL* a_chunk(int i, bool& exists) const { return gradient.chunk(i, exists); }
    __device__ const REAL* b_chunk(int, bool& sees) {
        Pixel in = out;
        sees = exists && left > 0;
        for (int axis = 0; axis < 3; ++axis) {
            in.at[axis] = out.at[axis] * g.stride[axis] + shift[axis];
            sees = sees && (unsigned)in.at[axis] < g.in_size[axis];
        }
        move_on(out, step, g.out_size);  // after all lines of a slice, this is the next one's first
        left -= B::LINE_STEP;
        return x + index_of(in, g.in_size) * g.channels + channel;
    }
    __device__ void advance() { gradient.advance(); }
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
    Source source{g};
    source.gradient.set(gy + group * outputs, m0, outputs, begin, end, g.outputs);
    source.x = x + group * channels;
    int weight = n0 + Source::B::own_chunk() * CHUNK, position[3];
    source.exists = weight < weights;
    source.channel = weight % channels;
    tap_position(weight / channels, g.window, position);
    for (int axis = 0; axis < 3; ++axis) source.shift[axis] = position[axis] * g.dilation[axis] - g.padding[axis];
    source.left = end - begin - Source::B::own_line(0);
    source.out = pixel_of(begin + Source::B::own_line(0), g.out_size);
    source.step = pixel_of(Source::B::LINE_STEP, g.out_size);
    Product::Sums sums = {};
    multiply_slices(sums, source, (end - begin + Shape::DEPTH - 1) / Shape::DEPTH);
    int first = group * outputs;
    if (partials_or_null) {
        float* own = partials_or_null + (split * (long long)g.outputs + first) * weights;
        auto row = [&](int m) { return m0 + m < outputs ? own + (long long)(m0 + m) * weights : nullptr; };
        Product::store<Source::A, Source::B>(sums, n0, weights, row, Epilogue{});
    } else {
        REAL* own = gw_or_null + (long long)first * weights;
        auto row = [&](int m) { return m0 + m < outputs ? own + (long long)(m0 + m) * weights : nullptr; };
        Product::store<Source::A, Source::B>(sums, n0, weights, row, Epilogue{});
    }
}
