// Products of matrices in tiles, which every fast GEMM and convolution shares: C = A * B.
//
// A block makes a tile of C. Its operands travel through shared memory in slices, asynchronously and STAGES - 1 of them
// ahead of the one that is being multiplied. They are multiplied by one of two files: multiply_mma.cuh, on tensor cores
// (float rounded to TF32, half, bfloat16), or multiply_fma.cuh, by fused multiply-adds in IEEE float32.
//
// Warps share a block's tile, going down its rows first. TILE 128,128,128,64,32 has 8 warps:
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

// TILE is a macro of five numbers and perhaps FMA: rows and columns of the block's tile, how many bytes deep a slice
// is, and rows and columns of a warp's part. Large parts read shared memory less often; many warps hide more of the
// waiting.
template <int ROWS, int COLUMNS, int SLICE_BYTES, int WARP_ROWS, int WARP_COLUMNS, Arithmetic ARITHMETIC_ = MMA>
struct TileShape {
    static constexpr int M = ROWS, N = COLUMNS, DEPTH = SLICE_BYTES / sizeof(REAL);
    static constexpr int WARP_M = WARP_ROWS, WARP_N = WARP_COLUMNS;
    static constexpr int WARPS_M = M / WARP_M, THREADS = WARPS_M * (N / WARP_N) * WARP;
    static constexpr Arithmetic ARITHMETIC = ARITHMETIC_;
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

// Starts the copies of one operand's slice; chunk_at(i, exists) is the address of this thread's chunk i, which may lie
// anywhere if it says that there is none: that is a chunk of zeros. It is called once for each i, in order.
template <class S, class ChunkAt>
__device__ __forceinline__ void copy_slice(char* slice, const ChunkAt& chunk_at) {
#pragma unroll
    for (int i = 0; i < S::PER_THREAD; ++i) {
        bool exists;
        const REAL* chunk = chunk_at(i, exists);
        copy_async(slice + S::offset(S::own_line(i), S::own_chunk()), chunk, exists);
    }
}

// This thread's chunks of a matrix, slice after slice: their lines lie a constant step apart.
template <class S>
struct Lines {
    const REAL* first;           // the chunk of its first line, in the current slice
    long long step, slice_step;  // elements to its next line, and to the next slice
    int rows_left, depth_left;   // from that chunk on

    // Rows of A, or columns of B, from `row` on, and the depth from `begin` to `end`. Element (row, k) lies at
    // row * stride + k, or at k * stride + row where lines are along the rows.
    __device__ void set(const REAL* matrix, int row, int rows, int begin, int end, long long stride) {
        int line = S::own_line(0), along = S::own_chunk() * CHUNK;
        row += S::ALONG_DEPTH ? line : along, begin += S::ALONG_DEPTH ? along : line;
        first = matrix + (S::ALONG_DEPTH ? row * stride + begin : begin * stride + row);
        step = S::LINE_STEP * stride, slice_step = Shape::DEPTH * (S::ALONG_DEPTH ? 1 : stride);
        rows_left = rows - row, depth_left = end - begin;
    }

    __device__ const REAL* chunk(int i, bool& exists) const {
        int lines = i * S::LINE_STEP;
        exists = S::ALONG_DEPTH ? lines < rows_left && depth_left > 0 : lines < depth_left && rows_left > 0;
        return first + i * step;
    }

    __device__ void advance() { first += slice_step, depth_left -= Shape::DEPTH; }
};

// How a block's threads share a tile, and multiply slices:
//   Sums                       what a thread accumulates
//   multiply<A, B>(sums, a, b) adds the product of two slices
//   store<A, B>(...)           writes the tile, see below
template <Arithmetic ARITHMETIC>
struct Multiplier;

// What becomes of the sums of a product before they are stored: a bias per column is added, and ReLU clips them.
struct Epilogue {
    const REAL* bias_or_null;
    int relu;

    // For column n of N.
    __device__ __forceinline__ float operator()(float sum, int n, int N) const {
        sum += bias_or_null && n < N ? (float)bias_or_null[n] : 0;
        return relu ? rectified(sum) : sum;
    }
};

// Writes two neighbours, as far as they lie below `end`, and in one access where they are aligned to it.
template <class OUT, class T>
__device__ __forceinline__ void store_pair(OUT* row, int n, int end, T first, T second) {
    Vector<OUT, 2> pair = {OUT(first), OUT(second)};
    if (n < end) store_vector(row + n, pair, end - n);
}

#include "multiply_fma.cuh"
#include "multiply_mma.cuh"

using Product = Multiplier<Shape::ARITHMETIC>;

// Accumulates `count` slices of the operands that a Source hands out one after the other:
//   Source::A, Source::B   how their slices lie in shared memory
//   a_chunk, b_chunk       what this thread copies of the current slice: see copy_slice
//   advance()              goes on to the next slice
template <class Source>
__device__ __forceinline__ void multiply_slices(Product::Sums& sums, Source& source, int count) {
    using A = typename Source::A;
    using B = typename Source::B;
    extern __shared__ __align__(128) char shared[];
    auto start = [&](int stage) {
        char* slice = shared + stage * (A::BYTES + B::BYTES);
        copy_slice<A>(slice, [&](int i, bool& exists) { return source.a_chunk(i, exists); });
        copy_slice<B>(slice + A::BYTES, [&](int i, bool& exists) { return source.b_chunk(i, exists); });
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
