// Batches of images from a data set of bytes on the device.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"

#define PER_VECTOR (16 / (int)sizeof(REAL))
#define MAX_CHANNELS 64  // must equal MAX_CHANNELS of gpunet/ops/images.py

struct Normal {
    double mean[64], std[64];
};

// How an image lies in memory: channel by channel, or pixel by pixel (channels last).
struct Images {
    int channels, pixels;
    int last, y_last;  // whether channels are last in the data set, and in the batch
};

// y[n, c] = (images[index[n], c] / 255 - mean[c]) / std[c]. One thread makes one vector of 16 bytes of an image, a warp 32
// neighbouring ones, a block of 4 warps 128. Where images lie as those of the batch, it reads as many neighbouring bytes.
// An index that does not exist gives zeros, and writes `code` to the error word.
// Without the 1 in the launch bounds, the assembler spills registers where it divides.
// Traffic: reads a byte per element and writes it in full.
extern "C" __global__ void __launch_bounds__(128, 1) normalize_images(
    REAL* y, const unsigned char* images, const long long* index, const __grid_constant__ Normal normal, Images shape,
    long long count, int* error, int code) {
    __shared__ ACC mean[MAX_CHANNELS], std[MAX_CHANNELS];
    for (int c = threadIdx.x; c < shape.channels; c += blockDim.x) mean[c] = normal.mean[c], std[c] = normal.std[c];
    __syncthreads();  // they are there
    int size = shape.channels * shape.pixels, first = (blockIdx.y * blockDim.x + threadIdx.x) * PER_VECTOR;
    long long from = index[blockIdx.x];
    bool exists = from >= 0 && from < count;
    if (!exists) atomicCAS(error, 0, code);
    const unsigned char* image = images + from * size;
    Vector<unsigned char, PER_VECTOR> bytes;
    bool same = shape.last == shape.y_last;
    if (exists && same) bytes = load_vector<unsigned char, PER_VECTOR>(image + first, size - first);
    // Of the two axes in memory, channels and pixels, `slow` and `fast` count along the batch's.
    int length = shape.y_last ? shape.channels : shape.pixels;
    int slow = first / length, fast = first - slow * length;
    Vector<REAL> values = {};
#pragma unroll
    for (int k = 0; k < PER_VECTOR; ++k) {
        if (!exists || first + k >= size) break;
        int channel = shape.y_last ? fast : slow, pixel = shape.y_last ? slow : fast;
        int at = shape.last ? pixel * shape.channels + channel : channel * shape.pixels + pixel;
        ACC byte = same ? bytes.at[k] : image[at];
        values.at[k] = (byte / 255 - mean[channel]) / std[channel];
        if (++fast == length) fast = 0, ++slow;
    }
    store_vector(y + (long long)blockIdx.x * size + first, values, size - first);
}
