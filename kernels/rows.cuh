// Rows along one axis of a dense array whose memory reads (outer, size, inner).

struct Rows {
    unsigned count;      // outer * inner; row number o * inner + i
    unsigned size;       // elements of a row
    unsigned inner;      // distance of two neighbours in a row
    unsigned lanes;      // threads that share a row: WARP, or 1 so that neighbouring threads read neighbouring rows
    unsigned per_block;  // rows that a block makes
};

// One row, as each of the threads that share it sees it. `work`, `value` and `term` take an element's offset, and its
// number in the row.
struct Row {
    unsigned number, size, inner, lanes, lane;
    long long first;

    // Share the elements among the threads.
    template <typename Work>
    __device__ __forceinline__ void each(Work work) const {
#pragma unroll 1
        for (unsigned c = lane; c < size; c += lanes) work(first + (long long)c * inner, c);
    }

    // The largest element; every thread gets it. NaN loses here, and comes back with the sum.
    template <typename Value>
    __device__ __forceinline__ ACC largest(Value value) const {
        ACC best = value(first, 0);
        each([&](long long i, unsigned c) { best = max(best, value(i, c)); });
        return lanes == WARP ? warp_max(best) : best;
    }

    // The sum in a fixed order; every thread gets it.
    template <typename Term>
    __device__ __forceinline__ ACC sum(Term term) const {
        ACC total = 0;
        each([&](long long i, unsigned c) { total += term(i, c); });
        return lanes == WARP ? warp_sum(total) : total;
    }
};

// Let this thread work on the rows that it shares.
template <typename Work>
__device__ __forceinline__ void each_row(const Rows& rows, Work work) {
    unsigned start = blockIdx.x * rows.per_block, count = min(rows.per_block, rows.count - start);
    for (unsigned i = threadIdx.x / rows.lanes; i < count; i += blockDim.x / rows.lanes) {
        unsigned r = start + i, outer = r / rows.inner;
        long long first = (long long)outer * rows.size * rows.inner + (r - outer * rows.inner);
        work(Row{r, rows.size, rows.inner, rows.lanes, threadIdx.x % rows.lanes, first});
    }
}
