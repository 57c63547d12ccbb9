// Products of matrices in tiles, which every fast GEMM and convolution shares: C = A * B.
//
// A block makes a tile of C. Its operands travel through shared memory in slices, asynchronously and STAGES - 1 of them
// ahead of the one that is being multiplied. They are multiplied by one of two files: multiply_mma.cuh, on tensor cores
// (float rounded to TF32, half, bfloat16), or multiply_fma.cuh, by fused multiply-adds in IEEE float32.
//
// Warps share a block's tile, going down its rows first. TILE 128,128,128 has 8 warps, each of which makes 64 x 32:
//
//   columns   0..31  32..63  64..95  96..127
//   rows
//     0..63     w0      w2      w4      w6
//    64..127    w1      w3      w5      w7
//
// Shared memory is a ring of STAGES pairs of slices: STAGES * (M + N) * bytes of depth, 96 KB for this tile. In each
// step the pair in brackets is multiplied, while the other ones are on their way:
//
//   step      0      1      2      3
//   pairs    [0]     3      3     [3]
//             1     [1]     4      4
//             2      2     [2]     5
#include "mma.cuh"
#include "vector.cuh"

#define STAGES 3
#define CHUNK (16 / (int)sizeof(REAL))  // elements of a chunk of 16 bytes, the unit in which operands travel

enum Arithmetic { MMA, FMA };

// TILE is a macro of three numbers and perhaps FMA: rows and columns of the block's tile, bytes of depth of a slice.
template <int ROWS, int COLUMNS, int SLICE_BYTES, Arithmetic ARITHMETIC_ = MMA>
struct TileShape {
    static constexpr int M = ROWS, N = COLUMNS, DEPTH = SLICE_BYTES / sizeof(REAL);
    static constexpr Arithmetic ARITHMETIC = ARITHMETIC_;
    // A warp's part: 64 x 32 of the largest tile of tensor cores, 32 x 64 by multiply-adds where there are 64 columns.
    static constexpr int WARP_M = ARITHMETIC == MMA && M * N >= 128 * 128 ? 64 : 32;
    static constexpr int WARP_N = ARITHMETIC == FMA && N >= 64 ? 64 : 32;
    static constexpr int WARPS_M = M / WARP_M, THREADS = WARPS_M * (N / WARP_N) * WARP;
};
using Shape = TileShape<TILE>;

// Kernels have the launch bounds (Shape::THREADS, 1): without the 1, the assembler aims at more blocks and spills.

// Where in the block's tile this warp's part begins.
__device__ __forceinline__ int warp_row() { return threadIdx.x / WARP % Shape::WARPS_M * Shape::WARP_M; }
__device__ __forceinline__ int warp_column() { return threadIdx.x / WARP / Shape::WARPS_M * Shape::WARP_N; }

// One operand's slice in shared memory: EXTENT rows of A or columns of B, Shape::DEPTH deep, in lines of chunks as they
// are adjacent in memory: along the depth (DEPTH_FASTEST) or along the extent.
template <int EXTENT, bool DEPTH_FASTEST>
struct Slice {
    static constexpr bool ALONG_DEPTH = DEPTH_FASTEST;
    static constexpr int LINES = DEPTH_FASTEST ? EXTENT : Shape::DEPTH;
    static constexpr int CHUNKS = (DEPTH_FASTEST ? Shape::DEPTH : EXTENT) / CHUNK;  // of a line
    static constexpr int BYTES = LINES * CHUNKS * 16;
    static constexpr int PER_THREAD = LINES * CHUNKS / Shape::THREADS;  // chunks that a thread copies
    static constexpr int LINE_STEP = Shape::THREADS / CHUNKS;           // lines between two of them
    static_assert(PER_THREAD * Shape::THREADS == LINES * CHUNKS && Shape::THREADS % CHUNKS == 0);

    // The lines and the column of chunks that this thread copies.
    static __device__ __forceinline__ int own_line(int i) { return threadIdx.x / CHUNKS + i * LINE_STEP; }
    static __device__ __forceinline__ int own_chunk() { return threadIdx.x % CHUNKS; }

    // Where a chunk lies, in bytes. Chunks of a line change places by an exclusive or, so that what a warp reads at
    // once lies in different banks: the same chunk of 8 lines, or 2 chunks of 4 lines where tensor cores take single
    // floats. Each row of these figures is 128 bytes, once through all banks: what [ ] marks has a column of banks to
    // itself.
    //
    //   lines of 128 bytes            lines of 64 bytes                floats, lines along the extent
    //   0  [0] 1  2  3  4  5  6  7    0, 1  [0] 1  2  3 [0] 1  2  3    0  [0][1] 2  3  4  5  6  7
    //   1   1 [0] 3  2  5  4  7  6    2, 3   1 [0] 3  2  1 [0] 3  2    1   2  3 [0][1] 6  7  4  5
    //   2   2  3 [0] 1  6  7  4  5    4, 5   2  3 [0] 1  2  3 [0] 1    2   4  5  6  7 [0][1] 2  3
    //   3   3  2  1 [0] 7  6  5  4    6, 7   3  2  1 [0] 3  2  1 [0]   3   6  7  4  5  2  3 [0][1]
    //   4   4  5  6  7 [0] 1  2  3
    //   5   5  4  7  6  1 [0] 3  2
    //   6   6  7  4  5  2  3 [0] 1
    //   7   7  6  5  4  3  2  1 [0]
    static __device__ __forceinline__ int offset(int line, int chunk) {
        int change = !DEPTH_FASTEST && sizeof(REAL) == 4 ? line % 4 * 2
                     : CHUNKS >= 8                       ? line % 8
                                                         : line / (8 / CHUNKS) % CHUNKS;
        return (line * CHUNKS + (chunk ^ change)) * 16;
    }
};

// Starts the copies of one operand's slice; `chunk_at(i)` is the address of this thread's chunk i, or null for zeros.
template <class S, class ChunkAt>
__device__ __forceinline__ void copy_slice(char* slice, const void* memory, const ChunkAt& chunk_at) {
#pragma unroll
    for (int i = 0; i < S::PER_THREAD; ++i) {
        const REAL* chunk = chunk_at(i);
        copy_async(slice + S::offset(S::own_line(i), S::own_chunk()), chunk ? chunk : memory, chunk != nullptr);
    }
}

// How a block's threads share a tile, and multiply slices:
//   Sums                       what a thread accumulates
//   multiply<A, B>(sums, a, b) adds the product of two slices
//   store<A, B>(...)           writes the tile, see below
template <Arithmetic ARITHMETIC>
struct Multiplier;

// Writes two neighbours, as far as they lie below `end`, and in one access where they are aligned to it.
template <class OUT>
__device__ __forceinline__ void store_pair(OUT* row, int n, int end, float first, float second) {
    Vector<OUT, 2> pair = {OUT(first), OUT(second)};
    if (n < end) store_vector(row + n, pair, end - n);
}

#include "multiply_fma.cuh"
#include "multiply_mma.cuh"

using Product = Multiplier<Shape::ARITHMETIC>;

// Accumulates `count` slices of the operands that a Source hands out one after the other:
//   Source::A, Source::B   how their slices lie in shared memory
//   a_memory, b_memory     the arrays
//   a_chunk(i), b_chunk(i) what this thread copies of the current slice
//   advance()              goes on to the next slice
template <class Source>
__device__ __forceinline__ void multiply_slices(Product::Sums& sums, Source& source, int count) {
    using A = typename Source::A;
    using B = typename Source::B;
    extern __shared__ __align__(128) char shared[];
    auto start = [&](int stage) {
        char* slice = shared + stage * (A::BYTES + B::BYTES);
        copy_slice<A>(slice, source.a_memory, [&](int i) { return source.a_chunk(i); });
        copy_slice<B>(slice + A::BYTES, source.b_memory, [&](int i) { return source.b_chunk(i); });
        source.advance();
    };
#pragma unroll
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < count) start(stage);
        commit_copies();
    }
    for (int slice = 0, stage = 0; slice < count; ++slice) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();  // the slice is complete, and everybody has read the one whose place is taken next
        if (slice + STAGES - 1 < count) start(stage == 0 ? STAGES - 1 : stage - 1);
        commit_copies();  // also where nothing was started, so that the wait counts the same groups
        const char* here = shared + stage * (A::BYTES + B::BYTES);
        Product::multiply<A, B>(sums, here, here + A::BYTES);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
}
