// Mistakes that people make with tensor cores and asynchronous copies, one per kernel, and correct twins.
#include "../../kernels/common.cuh"
#include "../../kernels/mma.cuh"

enum Mistake {
    NONE, SWAPPED_A, WRONG_B_ROW, WRONG_COLUMN, WRONG_MATRIX_ROW, MISALIGNED_MATRIX, HALF_A_WARP, LAST_LANES_RETURN,
    MISALIGNED_COPY, NO_WAIT, WEAK_WAIT, UNCOMMITTED, NO_FIRST_BARRIER, NO_SECOND_BARRIER, TO_GLOBAL, PAST_THE_MATRIX,
};

// c (16, 16) = a (16, depth) * b (16, depth) transposed. Two warps; each makes 8 columns, and loads one tile while it
// multiplies the other.
template <Mistake MISTAKE>
__device__ __forceinline__ void multiply(float* c, const bfloat16* a, const bfloat16* b, int depth) {
    __shared__ __align__(16) bfloat16 tile[2][32][16];  // 16 rows of a, then 16 of b
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, steps = depth / 16;
    auto load = [&](int step) {
        int row = threadIdx.x / 2, first = threadIdx.x % 2 * 8;
        const bfloat16* from = (row < 16 ? a + row * depth : b + (row - 16) * depth) + step * 16 + first;
        bfloat16* to = &tile[step % 2][row][first];
        if (MISTAKE == MISALIGNED_COPY) from++;
        if (MISTAKE == PAST_THE_MATRIX && threadIdx.x == 63) from += 16;
        if (MISTAKE == TO_GLOBAL) to = (bfloat16*)c;
        if (step < steps || MISTAKE == PAST_THE_MATRIX) copy_async(to, from, true);
        if (MISTAKE != UNCOMMITTED) commit_copies();
    };
    float sum[4] = {};
    load(0);
    for (int step = 0; step < steps; ++step) {
        load(step + 1);
        if (MISTAKE == WEAK_WAIT)
            wait_for_copies<2>();
        else if (MISTAKE != NO_WAIT)
            wait_for_copies<1>();
        if (MISTAKE != NO_FIRST_BARRIER) __syncthreads();
        bfloat16(*rows)[16] = tile[step % 2];
        unsigned left[4], right[4];
        load_matrices(left, &rows[lane % (MISTAKE == WRONG_MATRIX_ROW ? 8 : 16)][lane / 16 * 8]);
        load_matrices(right, &rows[16 + warp * 8 + lane % 8][lane / 8 % 2 * 8] + (MISTAKE == MISALIGNED_MATRIX));
        unsigned swapped_left[4] = {left[0], left[2], left[1], left[3]};
        unsigned of_b[2] = {right[MISTAKE == WRONG_B_ROW], right[MISTAKE != WRONG_B_ROW]};
        if (MISTAKE == LAST_LANES_RETURN && lane >= 24) return;
        if (MISTAKE != HALF_A_WARP || lane < 16) mma<bfloat16>(sum, MISTAKE == SWAPPED_A ? swapped_left : left, of_b);
        if (MISTAKE != NO_SECOND_BARRIER) __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        int column = MISTAKE == WRONG_COLUMN ? lane % 4 + i % 2 * 4 : lane % 4 * 2 + i % 2;
        c[(lane / 4 + i / 2 * 8) * 16 + warp * 8 + column] = sum[i];
    }
}

#define PLANTED(name, mistake)                                                   \
    extern "C" __global__ void __launch_bounds__(64) name(                       \
        float* c, const bfloat16* a, const bfloat16* b, int depth) {             \
        multiply<mistake>(c, a, b, depth);                                       \
    }
PLANTED(product_ok, NONE)
PLANTED(swapped_a, SWAPPED_A)
PLANTED(wrong_b_row, WRONG_B_ROW)
PLANTED(wrong_column, WRONG_COLUMN)
PLANTED(wrong_matrix_row, WRONG_MATRIX_ROW)
PLANTED(misaligned_matrix, MISALIGNED_MATRIX)
PLANTED(half_a_warp, HALF_A_WARP)
PLANTED(last_lanes_return, LAST_LANES_RETURN)
PLANTED(misaligned_copy, MISALIGNED_COPY)
PLANTED(no_wait, NO_WAIT)
PLANTED(weak_wait, WEAK_WAIT)
PLANTED(uncommitted, UNCOMMITTED)
PLANTED(no_first_barrier, NO_FIRST_BARRIER)
PLANTED(no_second_barrier, NO_SECOND_BARRIER)
PLANTED(to_global, TO_GLOBAL)
PLANTED(past_the_matrix, PAST_THE_MATRIX)

// c (16, 8) = a (16, depth) * b (8, depth) transposed by one warp in TF32.
template <bool ROUNDS>
__device__ void multiply_tf32(float* c, const float* a, const float* b, int depth) {
    int row = threadIdx.x / 4, column = threadIdx.x % 4;
    auto operand = [](float x) { return ROUNDS ? round_to_tf32(__float_as_uint(x)) : __float_as_uint(x); };
    float sum[4] = {};
    for (int k = column; k < depth; k += 8) {
        unsigned left[4], right[2];
        for (int i = 0; i < 4; ++i) left[i] = operand(a[(row + i % 2 * 8) * depth + k + i / 2 * 4]);
        for (int i = 0; i < 2; ++i) right[i] = operand(b[row * depth + k + i * 4]);
        mma<float>(sum, left, right);
    }
    for (int i = 0; i < 4; ++i) c[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sum[i];
}
extern "C" __global__ void __launch_bounds__(32) tf32_ok(float* c, const float* a, const float* b, int depth) {
    multiply_tf32<true>(c, a, b, depth);
}
extern "C" __global__ void __launch_bounds__(32) tf32_unrounded(float* c, const float* a, const float* b, int depth) {
    multiply_tf32<false>(c, a, b, depth);
}

// Lane 0 copies; all read before lane 0 waits, or after it, with and without a barrier.
template <bool ISSUE_ORDERED, bool EARLY, bool LANDING_ORDERED>
__device__ __forceinline__ void share_a_copy(float* y, const float* x) {
    __shared__ __align__(16) float held[4];
    if (threadIdx.x == 0) copy_async(held, x, true);
    commit_copies();
    if (ISSUE_ORDERED) __syncwarp();
    if (EARLY) y[threadIdx.x] = held[threadIdx.x % 4];
    wait_for_copies<0>();
    if (LANDING_ORDERED) __syncwarp();
    if (!EARLY) y[threadIdx.x] = held[threadIdx.x % 4];
}
extern "C" __global__ void __launch_bounds__(32) share_ok(float* y, const float* x) {
    share_a_copy<false, false, true>(y, x);
}
extern "C" __global__ void __launch_bounds__(32) share_unordered(float* y, const float* x) {
    share_a_copy<true, false, false>(y, x);
}
extern "C" __global__ void __launch_bounds__(32) share_at_issue(float* y, const float* x) {
    share_a_copy<false, true, true>(y, x);
}
extern "C" __global__ void __launch_bounds__(32) share_at_landing(float* y, const float* x) {
    share_a_copy<true, true, true>(y, x);
}

// Copies of the block reach 16 bytes behind the end of shared memory.
__device__ __forceinline__ void copy_all(float* held, float* y, const float* x) {
    copy_async(held + threadIdx.x * 4, x + threadIdx.x * 4, true);
    commit_copies();
    wait_for_copies<0>();
    y[threadIdx.x] = held[threadIdx.x * 4];
}
extern "C" __global__ void __launch_bounds__(32) past_static_copy(float* y, const float* x) {
    __shared__ __align__(16) float held[31 * 4];
    copy_all(held, y, x);
}
extern "C" __global__ void __launch_bounds__(32) past_dynamic_copy(float* y, const float* x) {
    extern __shared__ __align__(16) float held[];
    copy_all(held, y, x);
}

// Both kinds of shared memory, with a copy to the static one.
extern "C" __global__ void __launch_bounds__(32) both_kinds_ok(float* y, const float* x) {
    extern __shared__ __align__(16) float dynamic[];
    __shared__ __align__(16) float held[32 * 4];
    copy_async(held + threadIdx.x * 4, x + threadIdx.x * 4, true);
    commit_copies();
    wait_for_copies<0>();
    dynamic[threadIdx.x] = held[threadIdx.x * 4];
    y[threadIdx.x] = dynamic[threadIdx.x];
}
