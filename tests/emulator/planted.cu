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

// A __syncwarp of the lower half: the upper half takes no part.
extern "C" __global__ void half_syncs_then_other_reads(float* y) {
    __shared__ float s[16];
    int t = threadIdx.x;
    if (t < 16) {
        s[t] = 1;
        __syncwarp(0x0000ffffu);
    } else {
        y[t] = s[t - 16];
    }
}
extern "C" __global__ void half_syncs_then_other_writes(float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = 1;
    __syncwarp();
    if (t < 16) {
        y[t] = s[t];
        __syncwarp(0x0000ffffu);
    } else {
        s[t - 16] = 2;
    }
}
extern "C" __global__ void both_halves_write(float* y) {
    __shared__ float s[16];
    int t = threadIdx.x;
    if (t < 16) {
        s[t] = 1;
        __syncwarp(0x0000ffffu);
        y[t] = s[t];
    } else {
        s[t - 16] = 2;
        __syncwarp(0xffff0000u);
    }
}
extern "C" __global__ void both_halves_write_ok(float* y) {
    __shared__ float s[32];
    int t = threadIdx.x, half = t / 16 * 16;
    const unsigned mask = 0xffffu << half;
    for (int round = 0; round < 3; ++round) {
        s[t] = (float)round;
        __syncwarp(mask);
        y[t] = s[half + (t + 1) % 16] + s[half];
        __syncwarp(mask);
    }
}

// Lane 0, then lane 1, then lane 2 use s. A pair of lanes meets at each __syncwarp.
extern "C" __global__ void chain_of_pairs(float* y) {
    __shared__ float s;
    int t = threadIdx.x;
    if (t == 0) s = 1;
    if (t == 1 || t == 2) __syncwarp(6u);
    if (t == 0 || t == 1) __syncwarp(3u);  // too late for lane 2
    if (t == 2) y[t] = s;
}
extern "C" __global__ void chain_of_pairs_ok(float* y) {
    __shared__ float s;
    int t = threadIdx.x;
    if (t == 0) s = 1;
    if (t == 0 || t == 1) __syncwarp(3u);
    if (t == 1) y[t] = s;
    if (t == 1 || t == 2) __syncwarp(6u);
    if (t == 2) s = 2;
}
extern "C" __global__ void chain_is_overtaken(float* y) {
    __shared__ float s;
    int t = threadIdx.x;
    if (t == 0) y[t] = s;
    if (t == 0 || t == 1) __syncwarp(3u);
    if (t < 2) y[t] = s;  // lane 0 once more
    if (t == 1 || t == 2) __syncwarp(6u);
    if (t == 2) s = 2;
}
// Lane 2 waits for two readers, one after the other.
extern "C" __global__ void readers_one_by_one_ok(float* y) {
    __shared__ float s;
    int t = threadIdx.x;
    if (t == 1 || t == 3) __syncwarp(10u);
    if (t < 2) y[t] = s;
    if (t == 0 || t == 2) __syncwarp(5u);
    if (t == 1 || t == 2) __syncwarp(6u);
    if (t == 2) s = 2;
}
// All read, but after the barrier only lane 0, which lane 1 waits for.
extern "C" __global__ void reads_before_a_barrier_ok(float* y) {
    __shared__ float s;
    int t = threadIdx.x;
    y[t] = s;
    __syncthreads();
    if (t > 1) return;
    if (t == 0) y[t] = s;
    __syncwarp(3u);
    if (t == 1) s = 2;
}

// Lanes that have returned take part in no __syncwarp: the others must not use what they have written.
extern "C" __global__ void returned_lanes_write(float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = 1;
    if (t >= 20) return;
    __syncwarp();
    y[t] = s[(t + 1) % 32];
}
extern "C" __global__ void returned_lanes_write_ok(float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    s[t] = 1;
    __syncwarp();
    if (t >= 20) return;
    s[t] += s[20 + t % 12];
    __syncwarp();
    y[t] = s[(t + 1) % 20];
}

// Bytes written by a function of C and read by another thread.
extern "C" __global__ void set_then_copied(float* y) {
    __shared__ float s[64];
    if (threadIdx.x == 0) memset(s, 0, sizeof s);
    if (threadIdx.x == 1) memcpy(y, s, sizeof s);
}
extern "C" __global__ void set_then_copied_ok(float* y) {
    __shared__ float s[64];
    if (threadIdx.x == 0) memset(s, 0, sizeof s);
    __syncwarp();
    if (threadIdx.x == 1) memcpy(y, s, sizeof s);
    __syncwarp();
    if (threadIdx.x == 2) memmove(y + 1, y, sizeof s - 4);
}
extern "C" __global__ void moved_by_all(float* y) { memmove(y + 1, y, blockDim.x); }

// Thread 0 uses the counter too, and not by an atomic.
extern "C" __global__ void counter_is_set(int* count) {
    if (threadIdx.x == 0) *count = 0;
    atomicAdd(count, 1);
}
extern "C" __global__ void counter_is_read(int* count, int* seen) {
    if (threadIdx.x == 0) *seen = *count;
    atomicAdd(count, 1);
}
extern "C" __global__ void counter_is_read_by_half(int* count, int* seen) {
    atomicAdd(count, 1);
    if (threadIdx.x >= 16) return;
    __syncwarp();
    seen[threadIdx.x] = *count;
}
extern "C" __global__ void counter_is_loaded(int* count, int* seen) {
    if (threadIdx.x == 0) *seen = __ldg(count);
    atomicAdd(count, 1);
}
extern "C" __global__ void counter_ok(int* count, int* seen) {
    if (threadIdx.x == 0) *count = 0;
    __syncthreads();
    atomicAdd(count, 1);
    __syncthreads();
    seen[threadIdx.x] = *count;
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
