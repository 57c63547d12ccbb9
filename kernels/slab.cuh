// What convolution without tensor cores shares: blocks that own a slab of pixels, and threads that own neighbouring
// channels, a vector of them where that can be. How large slabs and blocks are says gpunet/ops/conv_slabs.py.
#include "vector.cuh"
#include "window.cuh"

#define PER_VECTOR (16 / (int)sizeof(REAL))  // channels
#define COLUMNS 4                            // pixels of a strip, which lie side by side in a row
#define WEIGHTS 9                            // whose gradients a thread adds up

// Calls visit(pixel) with the first pixel of each strip that this thread has in its slab of images of the given size.
template <class Visit>
__device__ __forceinline__ void each_strip(int batch, const int (&size)[3], int per_slab, const Visit& visit) {
    const int strips[3] = {size[0], size[1], (size[2] + COLUMNS - 1) / COLUMNS};
    int begin = blockIdx.x * per_slab, end = min(begin + per_slab, pixels(batch, strips));
    for (int strip = begin + threadIdx.y; strip < end; strip += blockDim.y) {
        Pixel pixel = pixel_of(strip, strips);
        pixel.at[2] *= COLUMNS;
        visit(pixel);
    }
}

// Gradients of the weights and of the bias. A block is (COUNTs of output channels, lanes, groups of weights); a thread
// adds up what the pixels of its lane say of WEIGHTS weights of each of its COUNT output channels. The bias counts as
// one more weight, whose input is 1. partials[slab] is [output][weight], then [output]; sum_axes adds up the slabs.
template <int COUNT>
using Sums = ACC[COUNT][WEIGHTS + 1];

template <int COUNT>
struct Slab {
    int thread, threads;  // number in the block, and their count
    int pitch;            // numbers from row to row in shared memory: the rows that lanes add up are in other banks
    int output, weight;   // the first of this thread
    int begin, end;       // output pixels
    __device__ Slab(const Window& g, int per_slab)
        : thread((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x),
          threads(blockDim.x * blockDim.y * blockDim.z),
          pitch((threads + WARP - 1) / WARP * WARP + blockDim.x),
          output((blockIdx.y * blockDim.x + threadIdx.x) * COUNT),
          weight((blockIdx.z * blockDim.z + threadIdx.z) * WEIGHTS),
          begin(blockIdx.x * per_slab),
          end(min(begin + per_slab, pixels(g.batch, g.out_size))) {}
};

// Adds up the lanes in their order, and stores; `depth` is the number of weights per output channel. The scratch holds
// WEIGHTS + 1 rows that no thread needs any more.
template <int COUNT>
__device__ __forceinline__ void store_sums(
    ACC* partials, const Sums<COUNT>& sum, const Slab<COUNT>& slab, int outputs, int depth, ACC* scratch) {
    partials += (long long)blockIdx.x * outputs * (depth + 1);
#pragma unroll
    for (int n = 0; n < COUNT; ++n) {
#pragma unroll
        for (int i = 0; i <= WEIGHTS; ++i) scratch[i * slab.pitch + slab.thread] = sum[n][i];
        __syncthreads();  // the sums of all lanes are there
        int output = slab.output + n;
        for (int i = threadIdx.y; i <= WEIGHTS; i += blockDim.y) {  // the lanes share the work
            int weight = slab.weight + i, lane0 = slab.thread - threadIdx.y * blockDim.x;
            ACC total = 0;
            for (int lane = 0; lane < blockDim.y; ++lane) {
                total += scratch[i * slab.pitch + lane0 + lane * blockDim.x];
            }
            if (output >= outputs) continue;
            if (i < WEIGHTS && weight < depth) partials[(long long)output * depth + weight] = total;
            if (i == WEIGHTS && slab.weight == 0) partials[(long long)outputs * depth + output] = total;
        }
        __syncthreads();  // everybody has read them before the next ones come
    }
}
