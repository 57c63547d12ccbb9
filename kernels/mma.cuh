// Tensor-core instructions and asynchronous copies: PTX for sm_80 and later, the emulator's functions on the CPU
// (gpunet/emulator/tensor_core.h). On older GPUs copies are plain, and tensor cores trap:
// the host never chooses them there.

#ifdef GPUNET_EMULATOR
#define BEFORE_SM80 0
#else
#define BEFORE_SM80 (__CUDA_ARCH__ < 800)
#endif

// How REAL goes into the tensor cores: a register holds one float, rounded to TF32, or two 16-bit numbers.
template <class T> struct Mma;

#ifdef GPUNET_EMULATOR
template <> struct Mma<float> : gpunet::Tf32 {};
template <> struct Mma<half> : gpunet::Float16 {};
template <> struct Mma<bfloat16> : gpunet::BFloat16 {};
#define MMA_SYNC(T, shape, types) \
    gpunet::multiply<Mma<T>>(c, a, b)
#elif BEFORE_SM80
#define MMA_SYNC(T, shape, types) __trap()
#else
#define MMA_SYNC(T, shape, types)                                                                   \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." types ".f32 {%0, %1, %2, %3}, "          \
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                    \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                   \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#endif

// c += a * b on fragments: c has 16 x 8 floats, and a and b are 32 bytes deep.
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
template <>
__device__ __forceinline__ void mma<float>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC(float, "m16n8k8", "tf32.tf32");
}
template <>
__device__ __forceinline__ void mma<half>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC(half, "m16n8k16", "f16.f16");
}
template <>
__device__ __forceinline__ void mma<bfloat16>(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    MMA_SYNC(bfloat16, "m16n8k16", "bf16.bf16");
}

// To nearest: left alone, the tensor cores drop the low bits, which is biased.
__device__ __forceinline__ unsigned round_to_tf32(unsigned word) {
#ifdef GPUNET_EMULATOR
    return gpunet::to_tf32(__uint_as_float(word));
#elif BEFORE_SM80
    __trap();
    return word;
#else
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(word)));
    return rounded;
#endif
}

#ifndef GPUNET_EMULATOR
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return (unsigned)__cvta_generic_to_shared(pointer);
}
#endif

// Four matrices of 8 rows of 16 bytes: lane 8 * m + i gives the address of row i of matrix m, and gets word lane % 4 of
// row lane / 4 of each.
__device__ __forceinline__ void load_matrices(unsigned (&words)[4], const void* row) {
#ifdef GPUNET_EMULATOR
    gpunet::load_matrices<false>(words, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row)));
#endif
}

// Likewise for 16-bit elements, each matrix transposed on the way.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&words)[4], const void* row) {
#ifdef GPUNET_EMULATOR
    gpunet::load_matrices<true>(words, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(shared_address(row)));
#endif
}

// 16 bytes to shared memory, or 16 zeros where they are not valid; they are there after a wait for their group.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
#ifdef GPUNET_EMULATOR
    gpunet::copy_async<16>(shared, global, valid ? 16 : 0);
#elif BEFORE_SM80
    struct __align__(16) Words {
        unsigned at[4];
    };
    *(Words*)shared = valid ? *(const Words*)global : Words{};
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 ::"r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0));
#endif
}

// Ends a group of copies.
__device__ __forceinline__ void commit_copies() {
#ifdef GPUNET_EMULATOR
    gpunet::commit_copies();
#elif !BEFORE_SM80
    asm volatile("cp.async.commit_group;");
#endif
}

// Waits for this thread's copies, but for the newest groups; a barrier then shows them to the block.
template <int NEWEST>
__device__ __forceinline__ void wait_for_copies() {
#ifdef GPUNET_EMULATOR
    gpunet::wait_for_copies(NEWEST);
#elif !BEFORE_SM80
    asm volatile("cp.async.wait_group %0;" ::"n"(NEWEST) : "memory");
#endif
}
