// Products of slices on tensor cores: floats are rounded to TF32, halves and bfloat16s go in as they are; sums are
// floats.
//
// A step multiplies fragments 32 bytes deep, 8 words of one float or of two 16-bit numbers. Lane l holds of each 16
// rows of A four words, of each 8 columns of B two, and of their product four sums. Which lane holds what, and in
// brackets, which of its words:
//
//   A        word 0    1    2    3      4    5    6    7      B^T        word 0    1    2    3      4    5    6    7
//   row 0        L0   L1   L2   L3     L0   L1   L2   L3      column 0       L0   L1   L2   L3     L0   L1   L2   L3
//   row 1        L4   L5   L6   L7     L4   L5   L6   L7      column 1       L4   L5   L6   L7     L4   L5   L6   L7
//   ...               [0]                   [2]               ...                 [0]                   [1]
//   row 7       L28  L29  L30  L31    L28  L29  L30  L31      column 7      L28  L29  L30  L31    L28  L29  L30  L31
//   row 8        L0   L1   L2   L3     L0   L1   L2   L3
//   ...               [1]                   [3]               C     column 0, 1   2, 3   4, 5   6, 7
//   row 15      L28  L29  L30  L31    L28  L29  L30  L31      row 0          L0     L1     L2     L3
//                                                             ...                  [0, 1]
//                                                             row 8          L0     L1     L2     L3
//                                                             ...                  [2, 3]
//
// A quarter of A, 8 rows of 4 words, is 8 chunks of a slice along the depth: load_matrices brings four of them at once.

#define STEP (32 / (int)sizeof(REAL))  // how deep one instruction multiplies
#define MMA_ROWS (Shape::WARP_M / 16)
#define MMA_COLUMNS (Shape::WARP_N / 8)

template <>
struct Multiplier<MMA> {
    // Of each 16 x 8 elements, a lane holds two neighbours in row lane / 4, and two 8 rows below.
    struct Sums {
        float of[MMA_ROWS][MMA_COLUMNS][4];
    };

    // Floats of a slice whose lines are along the rows, from the warp's first one on: two words 4 lines apart, and two
    // 8 rows further. A lane reads from chunk `own` of lines lane % 4 + 4 * n; chunks further on differ in its bits 1
    // and 2, which the exclusive or of Slice::offset changes too, so that few addresses are left to compute.
    template <class S>
    static __device__ __forceinline__ unsigned float_word(const char* slice, int first, int line, int rows) {
        int lane = threadIdx.x % WARP, chunks = rows / 4;
        int own = S::offset(lane % 4, first / 4 + lane / 16) + lane / 4 % 4 * 4;
        return *(const unsigned*)(slice + (own ^ (chunks & 6) * 16) + (line * S::CHUNKS + chunks / 8 * 8) * 16);
    }

    // Fragment i of A, 16 rows of this warp's part, one step deep.
    template <class A>
    static __device__ __forceinline__ void load_a(unsigned (&words)[4], const char* slice, int i, int step) {
        int lane = threadIdx.x % WARP, m = warp_row() + i * 16;
        if (A::ALONG_DEPTH) {
            load_matrices(words, slice + A::offset(m + lane % 16, step * 2 + lane / 16));
        } else if (sizeof(REAL) == 2) {
            int line = step * 16 + lane % 8 + lane / 16 * 8;
            load_matrices_transposed(words, slice + A::offset(line, m / 8 + lane / 8 % 2));
        } else {
#pragma unroll
            for (int w = 0; w < 4; ++w)
                words[w] = float_word<A>(slice, warp_row(), step * 8 + w / 2 * 4, i * 16 + w % 2 * 8);
        }
    }

    // Fragments 2 * j and 2 * j + 1 of B, of 8 columns each, one step deep.
    template <class B>
    static __device__ __forceinline__ void load_b(unsigned (&words)[4], const char* slice, int j, int step) {
        int lane = threadIdx.x % WARP, n = warp_column() + j * 16;
        if (B::ALONG_DEPTH) {
            load_matrices(words, slice + B::offset(n + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
        } else if (sizeof(REAL) == 2) {
            load_matrices_transposed(words, slice + B::offset(step * 16 + lane % 16, n / 8 + lane / 16));
        } else {
#pragma unroll
            for (int w = 0; w < 4; ++w)
                words[w] = float_word<B>(slice, warp_column(), step * 8 + w % 2 * 4, j * 16 + w / 2 * 8);
        }
    }

    // Adds the product of two slices; a_at(words, i, step) and b_at(words, j, step) load their fragments.
    template <class LoadA, class LoadB>
    static __device__ __forceinline__ void multiply_loaded(Sums& sums, const LoadA& a_at, const LoadB& b_at) {
#pragma unroll
        for (int step = 0; step < Shape::DEPTH / STEP; ++step) {
            unsigned a[MMA_ROWS][4], b[MMA_COLUMNS / 2][4];
#pragma unroll
            for (int i = 0; i < MMA_ROWS; ++i) a_at(a[i], i, step);
#pragma unroll
            for (int j = 0; j < MMA_COLUMNS / 2; ++j) b_at(b[j], j, step);
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

    template <class A, class B>
    static __device__ __forceinline__ void multiply(Sums& sums, const char* a_slice, const char* b_slice) {
        multiply_loaded(
            sums, [&](unsigned(&words)[4], int i, int step) { load_a<A>(words, a_slice, i, step); },
            [&](unsigned(&words)[4], int j, int step) { load_b<B>(words, b_slice, j, step); });
    }

    // Writes this warp's part of the tile, as far as it lies in C. row(m) is the address of row m of the tile, or null
    // outside; the tile's first column is column n0 of N.
    template <class A, class B, class Row>
    static __device__ __forceinline__ void store(
        const Sums& sums, int n0, int N, const Row& row, const Epilogue& epilogue) {
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
                    const float* pair = &sums.of[i][j][below * 2];
                    store_pair(to, n, N, epilogue(pair[0], n, N), epilogue(pair[1], n + 1, N));
                }
            }
        }
    }
};
