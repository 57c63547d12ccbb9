// The tiled matrix product on tensor cores that every fast GEMM and convolution shares: C = A * B.
//
// A block makes a tile of C. Its operands travel through shared memory in slices, asynchronously and STAGES - 1 of them
// ahead of the one that is being multiplied. Each warp makes a part of the tile in its registers, in floats; operands of
// type float are rounded to TF32 on their way into the tensor cores.
#include "mma.cuh"

#define STAGES 3
#define CHUNK (16 / (int)sizeof(REAL))  // elements of a chunk of 16 bytes, the unit in which operands travel
#define STEP (32 / (int)sizeof(REAL))   // how deep one instruction multiplies

// TILE is a macro of three numbers: rows and columns of the block's tile, and how many bytes deep a slice is.
template <int ROWS, int COLUMNS, int SLICE_BYTES>
struct TileShape {
    static constexpr int M = ROWS, N = COLUMNS, DEPTH = SLICE_BYTES / sizeof(REAL);
    static constexpr int WARP_M = M * N >= 128 * 128 ? 64 : 32, WARP_N = 32;  // a warp's part
    static constexpr int WARPS_M = M / WARP_M, THREADS = WARPS_M * (N / WARP_N) * WARP;
};
using Shape = TileShape<TILE>;

// One operand's slice in shared memory: EXTENT rows of A or columns of B, Shape::DEPTH deep, in lines of chunks as they
// are adjacent in memory: along the depth (DEPTH_FASTEST) or along the extent.
template <int EXTENT, bool DEPTH_FASTEST>
struct Slice {
    static constexpr int LINES = DEPTH_FASTEST ? EXTENT : Shape::DEPTH;
    static constexpr int CHUNKS = (DEPTH_FASTEST ? Shape::DEPTH : EXTENT) / CHUNK;  // of a line
    static constexpr int BYTES = LINES * CHUNKS * 16;
    static constexpr int PER_THREAD = LINES * CHUNKS / Shape::THREADS;  // chunks that a thread copies
    static constexpr int LINE_STEP = Shape::THREADS / CHUNKS;           // lines between two of them
    static_assert(PER_THREAD * Shape::THREADS == LINES * CHUNKS && Shape::THREADS % CHUNKS == 0);

    // The lines and the column of chunks that this thread copies.
    static __device__ __forceinline__ int own_line(int i) { return threadIdx.x / CHUNKS + i * LINE_STEP; }
    static __device__ __forceinline__ int own_chunk() { return threadIdx.x % CHUNKS; }

    // Where a chunk lies, in bytes. Chunks of a line change places by an exclusive or, so that what a warp reads at once
    // lies in different banks: the same chunk of 8 lines for load_matrices, 2 chunks of 4 lines for single floats.
    static __device__ __forceinline__ int offset(int line, int chunk) {
        int change = !DEPTH_FASTEST && sizeof(REAL) == 4 ? line % 4 * 2
                     : CHUNKS >= 8                       ? line % 8
                                                         : line / (8 / CHUNKS) % CHUNKS;
        return (line * CHUNKS + (chunk ^ change)) * 16;
    }

    static __device__ __forceinline__ unsigned word(const char* slice, int line, int element) {
        return *(const unsigned*)(slice + offset(line, element / CHUNK) + element % CHUNK * 4);
    }

    // The fragment of 16 rows of A from row m on, one step deep.
    static __device__ __forceinline__ void load_a(unsigned (&words)[4], const char* slice, int m, int step) {
        int lane = threadIdx.x % WARP;
        if (DEPTH_FASTEST) {
            load_matrices(words, slice + offset(m + lane % 16, step * 2 + lane / 16));
        } else if (sizeof(REAL) == 2) {
            load_matrices_transposed(words, slice + offset(step * 16 + lane % 8 + lane / 16 * 8, m / 8 + lane / 8 % 2));
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                words[i] = word(slice, step * 8 + lane % 4 + i / 2 * 4, m + lane / 4 + i % 2 * 8);
        }
    }

    // Two fragments of 8 columns of B each from column n on, one step deep.
    static __device__ __forceinline__ void load_b(unsigned (&words)[4], const char* slice, int n, int step) {
        int lane = threadIdx.x % WARP;
        if (DEPTH_FASTEST) {
            load_matrices(words, slice + offset(n + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
        } else if (sizeof(REAL) == 2) {
            load_matrices_transposed(words, slice + offset(step * 16 + lane % 16, n / 8 + lane / 16));
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                words[i] = word(slice, step * 8 + lane % 4 + i % 2 * 4, n + lane / 4 + i / 2 * 8);
        }
    }
};

#define MMA_ROWS (Shape::WARP_M / 16)
#define MMA_COLUMNS (Shape::WARP_N / 8)

// What a warp accumulates: of each 16 x 8 elements, a lane holds two neighbours in row lane / 4 and two 8 rows below.
struct Sums {
    float of[MMA_ROWS][MMA_COLUMNS][4];
};

// Where in the block's tile this warp's part begins.
__device__ __forceinline__ int warp_row() { return threadIdx.x / WARP % Shape::WARPS_M * Shape::WARP_M; }
__device__ __forceinline__ int warp_column() { return threadIdx.x / WARP / Shape::WARPS_M * Shape::WARP_N; }

// Adds the product of two slices; load_a(words, m, step) and load_b(words, n, step) fetch their fragments.
template <class LoadA, class LoadB>
__device__ __forceinline__ void multiply_slice(Sums& sums, const LoadA& load_a, const LoadB& load_b) {
#pragma unroll
    for (int step = 0; step < Shape::DEPTH / STEP; ++step) {
        unsigned a[MMA_ROWS][4], b[MMA_COLUMNS / 2][4];
#pragma unroll
        for (int i = 0; i < MMA_ROWS; ++i) load_a(a[i], warp_row() + i * 16, step);
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS / 2; ++j) load_b(b[j], warp_column() + j * 16, step);
        if (sizeof(REAL) == 4) {
#pragma unroll
            for (int word = 0; word < 4; ++word) {
#pragma unroll
                for (int i = 0; i < MMA_ROWS; ++i) a[i][word] = round_to_tf32(a[i][word]);
#pragma unroll
                for (int j = 0; j < MMA_COLUMNS / 2; ++j) b[j][word] = round_to_tf32(b[j][word]);
            }
        }
#pragma unroll
        for (int i = 0; i < MMA_ROWS; ++i) {
#pragma unroll
            for (int j = 0; j < MMA_COLUMNS; ++j) {
                unsigned half_of_b[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                mma<REAL>(sums.of[i][j], a[i], half_of_b);
            }
        }
    }
}

// Starts the copies of one operand's slice; `chunk_at(i)` is the address of this thread's chunk i, or null for zeros.
template <class S, class ChunkAt>
__device__ __forceinline__ void copy_slice(char* slice, const void* memory, const ChunkAt& chunk_at) {
#pragma unroll
    for (int i = 0; i < S::PER_THREAD; ++i) {
        const REAL* chunk = chunk_at(i);
        copy_async(slice + S::offset(S::own_line(i), S::own_chunk()), chunk ? chunk : memory, chunk != nullptr);
    }
}

// Accumulates `count` slices of the operands that a Source hands out one after the other:
//   Source::A, Source::B   how their slices lie in shared memory
//   a_memory, b_memory     the arrays
//   a_chunk(i), b_chunk(i) what this thread copies of the current slice
//   advance()              goes on to the next slice
template <class Source>
__device__ __forceinline__ void multiply_slices(Sums& sums, Source& source, int count) {
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
        multiply_slice(
            sums, [&](unsigned(&words)[4], int m, int step) { A::load_a(words, here, m, step); },
            [&](unsigned(&words)[4], int n, int step) { B::load_b(words, here + A::BYTES, n, step); });
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
}

// Writes two neighbours, in one access where they are aligned to it.
template <class OUT>
__device__ __forceinline__ void store_pair(OUT* to, float first, float second) {
    struct __align__(2 * sizeof(OUT)) Pair {
        OUT first, second;
    };
    if ((unsigned long long)to % sizeof(Pair) == 0) {
        *(Pair*)to = {OUT(first), OUT(second)};
    } else {
        to[0] = OUT(first);
        to[1] = OUT(second);
    }
}

// Writes this warp's part of the tile, as far as it lies in C. row(m) is the address of row m of the tile, or null
// outside; the tile's first column is column n0 of N; bias(n) is added to column n.
template <class Row, class Bias>
__device__ __forceinline__ void store_tile(const Sums& sums, int n0, int N, const Row& row, const Bias& bias) {
    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < MMA_ROWS; ++i) {
#pragma unroll
        for (int below = 0; below < 2; ++below) {
            auto to = row(warp_row() + i * 16 + below * 8 + lane / 4);
            if (!to) continue;
#pragma unroll
            for (int j = 0; j < MMA_COLUMNS; ++j) {
                int n = n0 + warp_column() + j * 8 + lane % 4 * 2;
                float first = sums.of[i][j][below * 2], second = sums.of[i][j][below * 2 + 1];
                if (n + 1 < N)
                    store_pair(to + n, first + bias(n), second + bias(n + 1));
                else if (n < N)
                    to[n] = first + bias(n);
            }
        }
    }
}
