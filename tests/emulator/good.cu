// Kernels without a fault, one per thing that the emulator must get right.

// C = A B, 16x16 tiles with two barriers per tile. Block (16, 16).
extern "C" __global__ void __launch_bounds__(256)
matmul(float* c, const float* a, const float* b, int m, int n, int k) {
    __shared__ float tile_a[16][17], tile_b[16][17];
    int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
    float sum = 0;
    for (int k0 = 0; k0 < k; k0 += 16) {
        tile_a[ty][tx] = row < m && k0 + tx < k ? a[row * k + k0 + tx] : 0.0f;
        tile_b[ty][tx] = k0 + ty < k && col < n ? b[(k0 + ty) * n + col] : 0.0f;
        __syncthreads();
        for (int i = 0; i < 16; ++i) sum = fmaf(tile_a[ty][i], tile_b[i][tx], sum);
        __syncthreads();
    }
    if (row < m && col < n) c[row * n + col] = sum;
}

// One warp per row: softmax by shuffles. Warps past the last row return early.
extern "C" __global__ void softmax(float* y, const float* x, int rows, int cols) {
    int lane = threadIdx.x % 32, row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    float largest = -3.402823466e38f, sum = 0;
    for (int i = lane; i < cols; i += 32) largest = fmaxf(largest, x[row * cols + i]);
    for (int d = 16; d; d /= 2) largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, d));
    for (int i = lane; i < cols; i += 32) sum += __expf(x[row * cols + i] - largest);
    for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
    for (int i = lane; i < cols; i += 32) y[row * cols + i] = __expf(x[row * cols + i] - largest) / sum;
}

// out[t][...]: every kind of shuffle, vote, reduction and counting barrier.
extern "C" __global__ void collectives(int* out) {
    const unsigned all = 0xffffffffu;
    int t = threadIdx.x, lane = t % 32;
    int* o = out + t * 16;
    o[15] = __popc(__activemask());
    o[0] = __shfl_down_sync(all, t, 3);
    o[1] = __shfl_up_sync(all, t, 5, 16);
    o[2] = __shfl_sync(all, t, 9, 8);
    o[3] = __shfl_xor_sync(all, t, 1);
    o[4] = (int)__ballot_sync(all, lane % 3 == 0);
    o[5] = __any_sync(all, lane == 7) * 2 + __any_sync(all, 0);
    o[6] = __all_sync(all, 1) * 2 + __all_sync(all, lane != 7);
    o[7] = (int)__reduce_add_sync(all, (unsigned)lane);
    o[8] = __reduce_min_sync(all, lane - 9);
    o[9] = (int)__reduce_max_sync(all, (unsigned)lane);
    o[10] = __syncthreads_count(t % 2);
    o[11] = __syncthreads_or(t == 40) * 2 + __syncthreads_or(0);
    o[12] = __syncthreads_and(1) * 2 + __syncthreads_and(t != 40);
    o[13] = -1;
    if (lane < 16) o[13] = __shfl_xor_sync(0xffffu, t, 2);  // half a warp, divergent
    __syncwarp();
    o[14] = (int)(__shfl_sync(all, 1.5 * t, 4) * 2);  // 8 bytes
}

// A GPU takes the lowest 5 bits of the distance of a shuffle.
extern "C" __global__ void far_shuffles(int* y, int distance) {
    int t = threadIdx.x;
    y[t] = __shfl_up_sync(0xffffffffu, t, (unsigned)distance);
    y[32 + t] = __shfl_down_sync(0xffffffffu, t, (unsigned)distance);
    y[64 + t] = __shfl_xor_sync(0xffffffffu, t, distance);
}

// Integer atomics: a histogram, a maximum, a ticket per thread.
extern "C" __global__ void atomics(int* bins, unsigned* largest, unsigned long long* sum, int* tickets) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&bins[i % 7], 1);
    atomicMax(largest, (unsigned)i);
    atomicAdd(sum, (unsigned long long)i << 20);
    tickets[i] = atomicAdd(&bins[7], 1);
    if (i == 3) atomicCAS(&bins[8], 5, i);
}

// Dynamic shared memory, two arrays in one.
extern "C" __global__ void reverse(float* y, const float* x, const int* shift) {
    extern __shared__ __align__(16) unsigned char memory[];
    float* values = (float*)memory;
    int* places = (int*)(values + blockDim.x);
    int t = threadIdx.x;
    values[t] = x[blockIdx.x * blockDim.x + t];
    places[t] = (t + shift[0]) % (int)blockDim.x;
    __syncthreads();
    y[blockIdx.x * blockDim.x + t] = values[blockDim.x - 1 - places[t]];
}

// The last block to finish adds up what all blocks have left: a fence, then an atomic.
__device__ unsigned finished;
extern "C" __global__ void last_block_sums(float* total, float* partial, const float* x) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        float sum = 0;
        for (unsigned i = 0; i < blockDim.x; ++i) sum += x[blockIdx.x * blockDim.x + i];
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x) return;
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
    *total = sum;
}

// What a thread knows of its place, in three dimensions.
extern "C" __global__ void place(int* out) {
    int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    out[b * (blockDim.x * blockDim.y * blockDim.z) + t] = b * 1000 + t;
}

// Each thread does its row of a program: pairs of what to do and with what. In shared memory, for the race detector.
extern "C" __global__ void follow(const int* program, int* seen, int steps) {
    __shared__ int s[4];
    for (const int *step = program + threadIdx.x * steps * 2, *end = step + steps * 2; step < end; step += 2) {
        int with = step[1];
        if (step[0] == 1) seen[threadIdx.x] += s[with];
        if (step[0] == 2) s[with] = 1;
        if (step[0] == 3) atomicAdd(&s[with], 1);
        if (step[0] == 4) __syncwarp((unsigned)with);
        if (step[0] == 5) __syncthreads();
    }
}

// Intrinsics and vector types; one value each.
__constant__ float coefficients[4];
extern "C" __global__ void intrinsics(float* f, unsigned* u, double* d, const float4* v, float x, unsigned n) {
    f[0] = rsqrtf(x);
    f[1] = __expf(x) + __logf(x);
    f[2] = fmaf(x, x, 1.0f);
    f[3] = __uint_as_float(__float_as_uint(x) ^ 0x80000000u);
    f[4] = __ldg(v).z + make_float4(1, 2, 3, 4).w;
    f[5] = max(x, 2) + min(x, 2.0f);
    f[6] = coefficients[2];
    f[7] = fmaxf(x, __int_as_float(0x7fc00000));
    u[0] = __umulhi(n, 0x90000000u);
    u[1] = __popc(n) * 10000 + __clz(n) * 100 + __ffs(n);
    u[2] = (unsigned)__float2int_rn(2.5f) * 100 + __float2int_rz(-2.5f) + 10;
    u[3] = __brev(1u) + min(n, 3u);
    u[4] = (unsigned)(__umul64hi(1ull << 63, 10) + sizeof(float2) * 100 + alignof(float4) * 10000);
    d[0] = __longlong_as_double(__double_as_longlong(1.5));
    d[1] = rsqrt(4.0);
}
