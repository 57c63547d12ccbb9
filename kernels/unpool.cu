// Max unpooling over channels-last memory: values of (N, inputs, C) go to (N, outputs, C), where an index of PyTorch's
// form says to which pixel. An index outside [0, outputs) writes `code` to the error word, and its value goes nowhere.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "channels.cuh"

#define LANES 8   // channels of a block
#define ROWS 32   // inputs that it places at a time

__device__ __forceinline__ bool valid(long long index, int outputs, int* error, int code) {
    if (index >= 0 && index < outputs) return true;
    atomicCAS(error, 0, code);
    return false;
}

// One block makes 8 channels of one image: zeros first, and then the values in the order of the inputs, 32 at a time.
// Where indices repeat, the last value stays, as in PyTorch on the CPU, without atomics. A warp takes 8 channels of
// four inputs, a thread one of them, and compares its index with those of the inputs behind it.
// Bound: latency: two barriers per 32 inputs of an image, and up to 31 comparisons.
// Traffic: reads x and an index of 8 bytes per value; writes y, and the pixels with values twice.
extern "C" __global__ void __launch_bounds__(256) max_unpool_forward(
    REAL* y, const REAL* x, const long long* indices, int channels, int inputs, int outputs, int* error, int code) {
    __shared__ long long claimed[ROWS][LANES];
    int groups = (channels + LANES - 1) / LANES, channel = blockIdx.x % groups * LANES + threadIdx.x;
    long long image = blockIdx.x / groups;
    bool exists = channel < channels;
    REAL* plane = y + image * outputs * channels + channel;
    for (int o = threadIdx.y; exists && o < outputs; o += ROWS) plane[(long long)o * channels] = (ACC)0;
    for (int first = 0; first < inputs; first += ROWS) {
        int input = first + threadIdx.y;
        long long i = (image * inputs + input) * channels + channel, index = -1;
        if (exists && input < inputs && valid(indices[i], outputs, error, code)) index = indices[i];
        claimed[threadIdx.y][threadIdx.x] = index;
        __syncthreads();  // all have said where they will write; zeros, and the values of the step before, are there
        bool last = index >= 0;
        for (int row = threadIdx.y + 1; row < ROWS; ++row) last = last && claimed[row][threadIdx.x] != index;
        if (last) plane[index * channels] = x[i];
        __syncthreads();  // all have read before the next step says where it will write
    }
}

// One thread makes the gradients of one vector of channels of an input pixel: each is that of the pixel it was meant for.
// A warp has 32 neighbours, a block so many neighbours times so many pixels.
// Bound: memory.
// Traffic: reads an index of 8 bytes and one element of gy per value, neighbours from different pixels; writes gx.
extern "C" __global__ void __launch_bounds__(256) max_unpool_backward(
    REAL* gx, const REAL* gy, const long long* indices, unsigned pixels, int channels, int inputs, int outputs,
    int* error, int code) {
    Own own(channels, blockIdx.y);
    unsigned pixel = blockIdx.x * blockDim.y + threadIdx.y;
    if (pixel >= pixels) return;
    const REAL* image = gy + (long long)(pixel / inputs) * outputs * channels + own.channel;
    Vector<long long, WIDTH> index = own.load_as_stored(indices + (long long)pixel * channels);
    Values values = {};
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
        if (k < own.left && valid(index.at[k], outputs, error, code)) values.at[k] = image[index.at[k] * channels + k];
    }
    own.store(gx + (long long)pixel * channels, values);
}
