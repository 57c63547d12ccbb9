// Kernels with one planted fault each, and beside some of them the correct twin (suffix _ok). They stay for ever:
// they show that the checks of the emulator still find what they are there to find.

extern "C" __global__ void missing_barrier(float* x) {
    __shared__ float s[256];
    int t = threadIdx.x;
    s[t] = x[t];
    x[t] = s[255 - t];
}
extern "C" __global__ void missing_barrier_ok(float* x) {
    __shared__ float s[256];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    x[t] = s[255 - t];
}

// Reads only what lower threads have written: right in forward order.
extern "C" __global__ void forward_only(float* y, const float* x) {
    __shared__ float s[256];
    int t = threadIdx.x;
    s[t] = x[t];
    y[t] = s[t] + (t ? s[t - 1] : 0.0f);
}

// The second barrier of a tile loop is missing: a write after reads.
extern "C" __global__ void second_barrier(float* y, const float* x, int tiles) {
    __shared__ float s[64];
    int t = threadIdx.x;
    float sum = 0;
    for (int k = 0; k < tiles; ++k) {
        s[t] = x[k * 64 + t];
        __syncthreads();
        sum += s[63 - t];
    }
    y[t] = sum;
}

extern "C" __global__ void missing_syncwarp(float* y, const float* x) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    y[t] = s[t ^ 1];
}

// A write after reads within a warp; the writer is the last reader itself.
extern "C" __global__ void write_after_reads(float* y, const float* x) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    float v = s[31];
    if (t == 31) s[31] = 0;
    y[t] = v;
}
extern "C" __global__ void write_after_reads_ok(float* y, const float* x) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = x[t];
    __syncwarp();
    float v = s[31];
    __syncwarp();
    if (t == 31) s[31] = 0;
    y[t] = v;
}

extern "C" __global__ void dynamic_race(float* x) {
    extern __shared__ float dynamic[];
    dynamic[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = dynamic[threadIdx.x ^ 33];
}

extern "C" __global__ void blocks_write(float* y) { y[threadIdx.x] = (float)blockIdx.x; }
extern "C" __global__ void plain_increment(float* y) { y[0] += 1.0f; }

// All blocks read y[0]; the last one, which reads it too, then writes it.
extern "C" __global__ void blocks_read(float* y) {
    float v = y[0];
    y[1 + blockIdx.x] = v;
    if (blockIdx.x == gridDim.x - 1) y[0] = 0;
}

// The last block reads what others have written, but they have not fenced.
__device__ unsigned finished;
extern "C" __global__ void missing_fence(float* total, float* partial) {
    partial[blockIdx.x] = (float)blockIdx.x;
    if (atomicInc(&finished, gridDim.x - 1) != gridDim.x - 1) return;
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
    *total = sum;
}

// Threads that return before a barrier of the others.
extern "C" __global__ void early_return(float* y) {
    if (threadIdx.x >= 48) return;
    __syncthreads();
    y[threadIdx.x] = 1;
}

extern "C" __global__ void barrier_and_shuffle(float* y) {
    if (threadIdx.x & 1)
        y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    else
        __syncthreads();
}
extern "C" __global__ void different_collectives(float* y) {
    float v = threadIdx.x & 1 ? __shfl_xor_sync(0xffffffffu, 1.0f, 1) : (float)__ballot_sync(0xffffffffu, 1);
    y[threadIdx.x] = v;
}
extern "C" __global__ void foreign_mask(float* y) { y[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0); }
extern "C" __global__ void traps(float* y) {
    if (y[threadIdx.x] == 5) __trap();
}

// Shared memory that nobody has written.
extern "C" __global__ void unwritten_static(float* y) {
    __shared__ float s[64];
    if (threadIdx.x == 0) s[0] = 1;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void unwritten_dynamic(float* y) {
    extern __shared__ float s[];
    if (threadIdx.x == 0) s[0] = 1;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}
// Reads a lane that is not in the mask.
extern "C" __global__ void lane_outside(float* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

// For AddressSanitizer and UndefinedBehaviorSanitizer.
extern "C" __global__ void past_global(float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1;
}
extern "C" __global__ void past_static(float* y) {
    __shared__ float s[32];
    s[threadIdx.x + 1] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void past_dynamic(float* y) {
    extern __shared__ float s[];
    s[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x + 1];
}
extern "C" __global__ void overflow(int* y) {
    int a = 2147483647;
    a += (int)blockDim.x;
    y[0] = a;
}
extern "C" __global__ void misaligned(float* y) { *(float4*)(y + 1) = make_float4(0, 0, 0, 0); }
