// Random numbers and dropout. Philox 4x64-10 gives the same bits here as NumPy's generator on the host: a draw is named
// by three integers, and element i of it is word i % 4 of block i / 4 (gpunet/backend/random.py).
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"

#define WORDS_PER_BLOCK 4

// A captured launch repeats its arguments, so there `call` will be the number at capture, and words_of will add a
// counter that it reads from device memory and that the step advances. Nothing else depends on `call`.
struct Draw {
    unsigned long long seed, stream, call;
};

// The four words of one block; the 1 stands there because NumPy's generator steps its counter first.
__device__ __forceinline__ void words_of(
    const Draw& draw, unsigned block, unsigned long long (&word)[WORDS_PER_BLOCK]) {
    unsigned long long key0 = draw.seed, key1 = draw.stream;
    word[0] = block + 1ull;
    word[1] = draw.call;
    word[2] = word[3] = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ull, word[0]), low0 = 0xD2E7470EE14C6C93ull * word[0];
        unsigned long long high2 = __umul64hi(0xCA5A826395121157ull, word[2]), low2 = 0xCA5A826395121157ull * word[2];
        word[0] = high2 ^ word[1] ^ key0;
        word[1] = low2;
        word[2] = high0 ^ word[3] ^ key1;
        word[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
}

// The upper bits of a word as a number in [0, 1), scaled with one rounding per operation, as on the host.
__device__ __forceinline__ float scaled(unsigned long long word, float low, float width) {
    return __fadd_rn(__fmul_rn((float)(word >> 40) * 0x1p-24f, width), low);
}
__device__ __forceinline__ double scaled(unsigned long long word, double low, double width) {
    return __dadd_rn(__dmul_rn((double)(word >> 11) * 0x1p-53, width), low);
}

// One thread makes the four words of one block, and from them four numbers; `largest` is the last one before the end
// of the interval, which rounding can reach. A warp makes 128 neighbouring numbers, a block of 8 warps 1024.
// Bound: the integer arithmetic of Philox: 40 products of 64 bits for four numbers.
// Traffic: writes each number once.
extern "C" __global__ void __launch_bounds__(256) uniform(
    ACC* y, Draw draw, ACC low, ACC width, ACC largest, unsigned count) {
    long long first = global_thread() * WORDS_PER_BLOCK;
    unsigned long long word[WORDS_PER_BLOCK];
    words_of(draw, global_thread(), word);
    Vector<ACC, WORDS_PER_BLOCK> numbers;
#pragma unroll
    for (int i = 0; i < WORDS_PER_BLOCK; ++i) numbers.at[i] = min(scaled(word[i], low, width), largest);
    store_vector(y + first, numbers, count - first);
}

// Dropout and its gradient: y = x * (kept ? scale : 0). One thread makes the four words of one block of a mask, and
// applies them in some of its `copies`: thread (word, copy) in those that lie a grid apart. The lanes of a warp have
// neighbouring words first, then neighbouring copies. `drawn` walks x and y in the order of the mask, `shared` from
// copy to copy; both in elements. Kept is whose 53-bit uniform number is at least the threshold: integers, for every
// dtype.
// Bound: memory, or the arithmetic of Philox as in uniform, where no copies share the words.
// Traffic: reads S bytes, writes S; the mask is in no memory.
extern "C" __global__ void __launch_bounds__(256) dropout(
    REAL* y, const REAL* x, Draw draw, unsigned long long threshold, ACC scale, const __grid_constant__ Axes drawn,
    const __grid_constant__ Axes shared, unsigned draws, unsigned copies) {
    unsigned block = blockIdx.x * blockDim.x + threadIdx.x;
    long long first = (long long)block * WORDS_PER_BLOCK, left = draws - first;
    unsigned long long word[WORDS_PER_BLOCK];
    words_of(draw, block, word);
    ACC factor[WORDS_PER_BLOCK];
    long long at[WORDS_PER_BLOCK];
#pragma unroll
    for (int i = 0; i < WORDS_PER_BLOCK; ++i) {
        factor[i] = word[i] >> 11 >= threshold ? scale : 0;
        at[i] = offset_of(drawn, first + i);
    }
    bool neighbours = lie_along_last(drawn, WORDS_PER_BLOCK) && last_stride(drawn) == 1;
    for (unsigned copy = blockIdx.y * blockDim.y + threadIdx.y; copy < copies; copy += gridDim.y * blockDim.y) {
        long long start = offset_of(shared, copy);
        if (neighbours) {
            Vector<REAL, WORDS_PER_BLOCK> values = load_vector<REAL, WORDS_PER_BLOCK>(x + start + at[0], left);
#pragma unroll
            for (int i = 0; i < WORDS_PER_BLOCK; ++i) values.at[i] = values.at[i] * factor[i];
            store_vector(y + start + at[0], values, left);
        } else {
#pragma unroll
            for (int i = 0; i < WORDS_PER_BLOCK; ++i) {
                if (i < left) y[start + at[i]] = x[start + at[i]] * factor[i];
            }
        }
    }
}
