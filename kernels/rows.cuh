// Rows along one axis of a dense array whose memory reads (outer, size, inner). A group of threads makes a row: lanes of
// a warp, so that short rows share it, or a block. What goes over a row for the second time finds it in the L1 cache,
// where the rows at work fit that.

constexpr unsigned THREADS = 4096 / sizeof(ACC);  // of a block at most, as in gpunet/ops/rows.py
constexpr ACC LOWEST = sizeof(ACC) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;  // of finite numbers

struct Rows {
    unsigned count;      // outer * inner; row number o * inner + i
    unsigned size;       // elements of a row
    unsigned inner;      // distance of two neighbours in a row
    unsigned lanes;      // threads of a group: a power of two up to WARP, or the block
    unsigned per_block;  // rows that a block makes
};

// The largest x of a row, and the sum of exp(x - largest).
struct Exponentials {
    ACC largest, sum;
};

struct Sum {
    static __device__ __forceinline__ ACC of(ACC a, ACC b) { return a + b; }
};
struct Larger {
    static __device__ __forceinline__ ACC of(ACC a, ACC b) { return max(a, b); }
};

// One row, as each thread of its group sees it, which takes WIDTH elements at a time. IN_VECTORS: they are neighbours,
// moved by one access, since rows are neighbours in memory that fill vectors of 16 bytes. Else they are every lanes-th
// one, so that lanes read neighbours; as many as make 16 bytes of ACC, to save registers.
template <bool IN_VECTORS>
struct Row {
    static constexpr unsigned WIDTH = 16 / (IN_VECTORS ? sizeof(REAL) : sizeof(ACC));
    unsigned number, size, inner, lanes, lane;
    long long first;

    // Where element c lies.
    __device__ __forceinline__ long long offset(unsigned c) const {
        return first + (IN_VECTORS ? c : (long long)c * inner);
    }

    // Number of element k of the thread's vector that begins at element c, and whether the row has it.
    __device__ __forceinline__ unsigned element(unsigned c, unsigned k) const { return c + k * (IN_VECTORS ? 1 : lanes); }
    __device__ __forceinline__ bool has(unsigned c, unsigned k) const { return IN_VECTORS || element(c, k) < size; }

    // What the row does not have is undefined, and so is what is read without an array.
    __device__ __forceinline__ Vector<REAL, WIDTH> load(const REAL* x_or_null, unsigned c) const {
        if (!x_or_null) return Vector<REAL, WIDTH>();
        if constexpr (IN_VECTORS) {
            return load_vector<REAL, WIDTH>(x_or_null + offset(c), WIDTH);
        } else {
            Vector<REAL, WIDTH> vector;
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) vector.at[k] = x_or_null[offset(element(c, k))];
            }
            return vector;
        }
    }

    __device__ __forceinline__ void store(REAL* y, unsigned c, const Vector<REAL, WIDTH>& vector) const {
        if constexpr (IN_VECTORS) {
            store_vector(y + offset(c), vector, WIDTH);
        } else {
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) y[offset(element(c, k))] = vector.at[k];
            }
        }
    }

    // work(c, vectors of the arrays) for each of this thread's vectors.
    template <class Work, class... Arrays>
    __device__ __forceinline__ void each(Work work, const Arrays*... arrays) const {
#pragma unroll 1
        for (unsigned c = lane * (IN_VECTORS ? WIDTH : 1); c < size; c += lanes * WIDTH) work(c, load(arrays, c)...);
    }

    // y = formula(number of the element, its value in each array).
    template <class Formula, class... Arrays>
    __device__ __forceinline__ void make(REAL* y, Formula formula, const Arrays*... arrays) const {
        each([&](unsigned c, const auto&... vectors) {
            Vector<REAL, WIDTH> made;
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) made.at[k] = formula(element(c, k), (ACC)vectors.at[k]...);
            }
            store(y, c, made);
        }, arrays...);
    }

    // The sum of term(number of the element, its value in each array), in a fixed order; every thread gets it.
    template <class Term, class... Arrays>
    __device__ __forceinline__ ACC sum(Term term, const Arrays*... arrays) const {
        ACC total = 0;
        each([&](unsigned c, const auto&... vectors) {
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) total += term(element(c, k), (ACC)vectors.at[k]...);
            }
        }, arrays...);
        return joined<Sum>(total);
    }

    // In one pass: sums are scaled anew for each larger x (Milakov & Gimelshein, "Online normalizer calculation for
    // softmax", 2018). NaN is never the largest, but makes the sum NaN, as infinity does. The largest is finite at least,
    // since exp(-infinity - -infinity) would be NaN too.
    __device__ __forceinline__ Exponentials exponentials(const REAL* x) const {
        ACC largest = LOWEST, sum = 0;
        each([&](unsigned c, const Vector<REAL, WIDTH>& values) {
            ACC before = largest;
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) largest = max(largest, (ACC)values.at[k]);
            }
            sum *= exp(before - largest);
#pragma unroll
            for (unsigned k = 0; k < WIDTH; ++k) {
                if (has(c, k)) sum += exp(values.at[k] - largest);
            }
        }, x);
        ACC of_row = joined<Larger>(largest);
        return {of_row, joined<Sum>(sum * exp(largest - of_row))};
    }

    // The values of all threads of the group, joined in a fixed order; every thread gets the result. The lanes of a row,
    // and no others, meet in a shuffle: rows that share a warp go their own ways.
    template <class Join>
    __device__ __forceinline__ ACC joined(ACC value) const {
        unsigned mask = lanes < WARP ? ((1u << lanes) - 1) << (threadIdx.x % WARP - lane) : ALL_LANES;
#pragma unroll
        for (unsigned distance = WARP / 2; distance > 0; distance /= 2) {
            if (distance < lanes) value = Join::of(value, __shfl_xor_sync(mask, value, distance));
        }
        if (lanes <= WARP) return value;
        __shared__ ACC of_warp[THREADS / WARP];
        if (lane % WARP == 0) of_warp[lane / WARP] = value;
        __syncthreads();  // every warp has written before all threads read
        value = of_warp[0];
        for (unsigned warp = 1; warp < lanes / WARP; ++warp) value = Join::of(value, of_warp[warp]);
        __syncthreads();  // all have read before a next value is written
        return value;
    }
};

// Let this thread work on the rows of its group.
template <bool IN_VECTORS, class Work>
__device__ __forceinline__ void walk(const Rows& rows, Work work) {
    unsigned start = blockIdx.x * rows.per_block, count = min(rows.per_block, rows.count - start);
    for (unsigned i = threadIdx.x / rows.lanes; i < count; i += blockDim.x / rows.lanes) {
        unsigned r = start + i, outer = r / rows.inner;
        long long first = (long long)outer * rows.size * rows.inner + (r - outer * rows.inner);
        work(Row<IN_VECTORS>{r, rows.size, rows.inner, rows.lanes, threadIdx.x % rows.lanes, first});
    }
}

template <class Work>
__device__ __forceinline__ void each_row(const Rows& rows, Work work) {
    if (rows.inner == 1 && rows.size % Row<true>::WIDTH == 0) walk<true>(rows, work);
    else walk<false>(rows, work);
}
