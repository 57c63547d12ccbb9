// Products of slices of floats by fused multiply-adds, in IEEE arithmetic, along the depth from its start to its end.
//
// A warp's part is 32 x 64, or 32 x 32 of a narrow tile. A lane has 8 rows and 8 or 4 columns of it, which depend on
// how the lines of A and B lie:
//
//   lane % 8, or lane / 8                0      1      2       3     ...   7
//   lines along the depth     columns    0      1      2       3     ...   7      and 8, 16, ..., 56 further
//                             rows       0      1      2       3                  and 4, 8, ..., 28 further
//   lines along the extent    columns   0..3   4..7   8..11  12..15  ... 28..31   and 32 further
//                             rows      0..3   4..7   8..11  12..15               and 16 further

#define FMA_LANES_M 4  // lanes of a warp share its part as 4 x 8
#define FMA_LANES_N 8
#define FMA_ROWS (Shape::WARP_M / FMA_LANES_M)
#define FMA_COLUMNS (Shape::WARP_N / FMA_LANES_N)

template <>
struct Multiplier<FMA> {
    struct Sums {
        float of[FMA_ROWS][FMA_COLUMNS];
    };

    static __device__ __forceinline__ int lane_m() { return threadIdx.x % WARP / FMA_LANES_N; }
    static __device__ __forceinline__ int lane_n() { return threadIdx.x % WARP % FMA_LANES_N; }

    // A thread's rows (columns, of B) come in groups of four: where lines are along the depth, neighbouring lanes
    // have neighbouring lines; else a lane has a chunk of four neighbours. Either way lanes read different banks.
    template <class S>
    static __device__ __forceinline__ int own(int i, int lane, int lanes) {
        return S::ALONG_DEPTH ? lane + i * lanes : (i / 4 * lanes + lane) * 4 + i % 4;
    }

    // Loads the elements of one group in chunk `k` of the depth: values[i][k].
    template <class S>
    static __device__ __forceinline__ void load(
        float (&values)[4][4], const char* slice, int first, int group, int lane, int lanes, int k) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            int at = first + own<S>(group * 4 + e, lane, lanes);  // of four neighbours, at / 4 is the same
            int offset = S::ALONG_DEPTH ? S::offset(at, k) : S::offset(k * 4 + e, at / 4);
            Vector<float> chunk = load_vector((const float*)(slice + offset));
#pragma unroll
            for (int i = 0; i < 4; ++i) (S::ALONG_DEPTH ? values[e][i] : values[i][e]) = chunk.at[i];
        }
    }

    template <class A, class B>
    static __device__ __forceinline__ void multiply(Sums& sums, const char* a_slice, const char* b_slice) {
#pragma unroll 1  // else the loads of all steps come first, and take all registers
        for (int k = 0; k < Shape::DEPTH / 4; ++k) {
            float b[FMA_COLUMNS / 4][4][4];
#pragma unroll
            for (int group = 0; group < FMA_COLUMNS / 4; ++group)
                load<B>(b[group], b_slice, warp_column(), group, lane_n(), FMA_LANES_N, k);
#pragma unroll
            for (int group = 0; group < FMA_ROWS / 4; ++group) {
                float a[4][4];
                load<A>(a, a_slice, warp_row(), group, lane_m(), FMA_LANES_M, k);
#pragma unroll
                for (int depth = 0; depth < 4; ++depth) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
#pragma unroll
                        for (int j = 0; j < FMA_COLUMNS; ++j)
                            sums.of[group * 4 + i][j] += a[i][depth] * b[j / 4][j % 4][depth];
                    }
                }
            }
        }
    }

    // As on tensor cores.
    template <class A, class B, class Row>
    static __device__ __forceinline__ void store(
        const Sums& sums, int n0, int N, const Row& row, const Epilogue& epilogue) {
#pragma unroll
        for (int i = 0; i < FMA_ROWS; ++i) {
            auto to = row(warp_row() + own<A>(i, lane_m(), FMA_LANES_M));
            if (!to) continue;
#pragma unroll
            for (int j = 0; j < FMA_COLUMNS; j += 2) {
                int n = n0 + warp_column() + own<B>(j, lane_n(), FMA_LANES_N);
                int next = n0 + warp_column() + own<B>(j + 1, lane_n(), FMA_LANES_N);
                float first = epilogue(sums.of[i][j], n, N);
                float second = epilogue(sums.of[i][j + 1], next, N);
                if (!B::ALONG_DEPTH) {
                    store_pair(to, n, N, first, second);
                } else {
                    if (n < N) to[n] = first;
                    if (next < N) to[next] = second;
                }
            }
        }
    }
};
