// Flat buffers: one block of THREADS threads works on one chunk of them.

#define THREADS 256
#define CHUNK 4096  // elements of a chunk where there is no table; must equal KERNEL_CHUNK of gpunet/ops/chunks.py

// The larger of two numbers; NaN if one of them is.
__device__ __forceinline__ ACC larger(ACC a, ACC b) { return a == a && b == b ? max(a, b) : a + b; }

struct Chunk {
    long long begin, end;
};

// This block's chunk: row blockIdx.x of a table (start, length, counter), or the elements from blockIdx.x * CHUNK on.
// It is cut to the buffer, which a wrong table must not leave; it may be empty.
__device__ __forceinline__ Chunk own_chunk(const long long* chunks_or_null, long long size) {
    long long begin = (long long)blockIdx.x * CHUNK, length = CHUNK;
    if (chunks_or_null) {
        begin = chunks_or_null[3 * (long long)blockIdx.x];
        length = chunks_or_null[3 * (long long)blockIdx.x + 1];
    }
    return {max(begin, 0LL), min(begin + length, size)};
}

// This thread's vectors of a chunk, of which a warp takes 32 neighbours at a time: calls work(i, left) for the elements
// from i on, of which `left` exist. Where chunks begin at multiples of 16 bytes, as those of optimizers do, each vector
// is one access.
template <int WIDTH, class Work>
__device__ __forceinline__ void each_vector(const Chunk& chunk, Work work) {
    for (long long i = chunk.begin + threadIdx.x * WIDTH; i < chunk.end; i += THREADS * WIDTH) {
        work(i, (int)min(chunk.end - i, (long long)WIDTH));
    }
}
