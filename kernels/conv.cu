// Convolution as implicit GEMM: the columns of im2col are formed while tiles are loaded, never in memory.
// Activations are channels-last (N, D, H, W, C), weights (O, KD, KH, KW, C / groups). Of a block's 64 x 64 tile, a warp
// makes 8 x 64, a thread 4 x 4.
// Bound: arithmetic, at the rate of fused multiply-adds: 2 * pixels * outputs * taps * channels / groups operations.
// Traffic: a tile takes its rows and columns of the operands, so x (or gy) is read once per tap and 64 channels of the
// result, the weights once per 64 pixels, most often from the caches; the result is written once.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "gemm.cuh"
#include "window.cuh"

// Operands of the three products. `channels` and `outputs` count one group; `group` selects it.
struct Side {
    const Window& g;
    int group, channels, outputs, taps;
    __device__ Side(const Window& w, int group)
        : g(w), group(group), channels(w.channels / w.groups), outputs(w.outputs / w.groups), taps(::taps(w)) {}
};

// Input seen by an output pixel: depth is (tap, channel).
struct Patches {
    static constexpr bool DEPTH_FASTEST = true;
    const REAL* x;
    Side side;
    __device__ ACC operator()(int out, int depth) const {
        const Window& g = side.g;
        if (out >= pixels(g.batch, g.out_size) || depth >= side.taps * side.channels) return 0;
        Pixel in;
        if (!input_pixel(g, pixel_of(out, g.out_size), depth / side.channels, in)) return 0;
        return x[index_of(in, g.in_size) * g.channels + side.group * side.channels + depth % side.channels];
    }
};

// Weights of an output channel: depth is (tap, channel), as they lie in memory.
struct Filters {
    static constexpr bool DEPTH_FASTEST = true;
    const REAL* w;
    Side side;
    __device__ ACC operator()(int output, int depth) const {
        int size = side.taps * side.channels;
        if (output >= side.outputs || depth >= size) return 0;
        return w[(long long)(side.group * side.outputs + output) * size + depth];
    }
};

// One block makes 64 output pixels x 64 output channels of one group.
extern "C" __global__ void __launch_bounds__(256) conv_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, Window g) {
    Side side(g, blockIdx.z);
    int m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE, first = side.group * side.outputs;
    ACC sum[PER_THREAD][PER_THREAD] = {};
    multiply_tile(sum, Patches{x, side}, Filters{w, side}, m0, n0, 0, side.taps * side.channels);
    store_tile(sum, m0, n0, pixels(g.batch, g.out_size), side.outputs, [&](int pixel, int output, ACC value) {
        ACC bias = bias_or_null ? (ACC)bias_or_null[first + output] : 0;
        y[(long long)pixel * g.outputs + first + output] = value + bias;
    });
}

// Gradient of the output pixels that saw an input pixel: depth is (tap, output channel).
struct Listeners {
    static constexpr bool DEPTH_FASTEST = true;
    const REAL* gy;
    Side side;
    __device__ ACC operator()(int in, int depth) const {
        const Window& g = side.g;
        if (in >= pixels(g.batch, g.in_size) || depth >= side.taps * side.outputs) return 0;
        Pixel out;
        if (!output_pixel(g, pixel_of(in, g.in_size), depth / side.outputs, out)) return 0;
        return gy[index_of(out, g.out_size) * g.outputs + side.group * side.outputs + depth % side.outputs];
    }
};

// Weights of an input channel: depth is (tap, output channel).
struct FiltersByChannel {
    static constexpr bool DEPTH_FASTEST = false;
    const REAL* w;
    Side side;
    __device__ ACC operator()(int channel, int depth) const {
        int tap = depth / side.outputs, output = side.group * side.outputs + depth % side.outputs;
        if (channel >= side.channels || tap >= side.taps) return 0;
        return w[((long long)output * side.taps + tap) * side.channels + channel];
    }
};

// One block makes 64 input pixels x 64 input channels of one group: a gather, so nothing is added twice. With a bias it
// is the forward of transposed convolution, whose output is the input of the convolution that `g` describes.
extern "C" __global__ void __launch_bounds__(256) conv_backward_input(
    REAL* gx, const REAL* gy, const REAL* w, const REAL* bias_or_null, Window g) {
    Side side(g, blockIdx.z);
    int m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE, first = side.group * side.channels;
    ACC sum[PER_THREAD][PER_THREAD] = {};
    multiply_tile(sum, Listeners{gy, side}, FiltersByChannel{w, side}, m0, n0, 0, side.taps * side.outputs);
    store_tile(sum, m0, n0, pixels(g.batch, g.in_size), side.channels, [&](int pixel, int channel, ACC value) {
        ACC bias = bias_or_null ? (ACC)bias_or_null[first + channel] : 0;
        gx[(long long)pixel * g.channels + first + channel] = value + bias;
    });
}

// Gradient at an output channel: depth is the output pixel, up to the end of this split.
struct OutputGradient {
    static constexpr bool DEPTH_FASTEST = false;
    const REAL* gy;
    Side side;
    int end;
    __device__ ACC operator()(int output, int pixel) const {
        if (output >= side.outputs || pixel >= end) return 0;
        return gy[(long long)pixel * side.g.outputs + side.group * side.outputs + output];
    }
};

// Input behind a weight (tap, channel): depth is the output pixel, up to the end of this split.
struct PatchesByWeight {
    static constexpr bool DEPTH_FASTEST = false;
    Patches patches;
    int end;
    __device__ ACC operator()(int weight, int pixel) const { return pixel < end ? patches(pixel, weight) : 0; }
};

// One block makes 64 output channels x 64 weights of one group from one split of the output pixels;
// out[split] is a whole weight gradient, and the splits are added by sum_axes in a fixed order.
// Traffic: reads gy once per 64 weights and x once per tap and 64 outputs, most often from the caches; writes the
// gradient once per split.
extern "C" __global__ void __launch_bounds__(256) conv_backward_weight(
    ACC* out, const REAL* gy, const REAL* x, Window g, int per_split) {
    Side side(g, blockIdx.z % g.groups);
    int split = blockIdx.z / g.groups, size = side.taps * side.channels;
    int begin = split * per_split, end = min(begin + per_split, pixels(g.batch, g.out_size));
    int m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE;
    ACC sum[PER_THREAD][PER_THREAD] = {};
    OutputGradient gradient{gy, side, end};
    multiply_tile(sum, gradient, PatchesByWeight{{x, side}, end}, m0, n0, begin, end);
    store_tile(sum, m0, n0, side.outputs, size, [&](int output, int weight, ACC value) {
        long long row = (long long)split * g.outputs + side.group * side.outputs + output;
        out[row * size + weight] = value;
    });
}
