// CUDA C++ for g++, force-included before the text of a kernel. What NVRTC does not offer without a header
// (INFINITY, M_PI, ...) is not offered here either where that is possible.
#pragma once
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "runtime.h"
#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef HUGE_VALF
#undef M_PI
#undef M_E
#undef M_SQRT2

// ---------------------------------------------------------------- keywords

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_assume(condition) ((void)0)
// A worker runs one block at a time on one OS thread. With AddressSanitizer there is one worker, and only plain
// variables get red zones; in templates, whose copies the linker merges, none do, and only an index out of bounds shows.
#ifdef GPUNET_ASAN
#define __shared__ static
#else
#define __shared__ static __thread
#endif
// Stands for  extern __shared__ type name[];  (module.py). A declaration outside a function would run too early.
#define GPUNET_DYNAMIC_SHARED(type, name)                                                            \
    static_assert(*__builtin_FUNCTION() != 0, "extern __shared__ must be declared inside a function"); \
    type* name = (type*)gpunet_thread.dynamic_shared

#define threadIdx (gpunet_thread.thread_index)
#define blockIdx (gpunet_thread.block_index)
#define blockDim (gpunet_thread.block_size)
#define gridDim (gpunet_thread.grid_size)
#define warpSize 32

// ---------------------------------------------------------------- vector types

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

#define GPUNET_VECTOR1234(type, name)                                                                          \
    struct name##1 { type x; };                                                                                \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                                   \
    struct alignas(sizeof(type) < 8 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; };                     \
    static inline name##1 make_##name##1(type x) { return {x}; }                                               \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                    \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                         \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
#define GPUNET_VECTOR(type, name) \
    struct name##3 { type x, y, z; }; \
    GPUNET_VECTOR1234(type, name)
GPUNET_VECTOR(signed char, char)
GPUNET_VECTOR(unsigned char, uchar)
GPUNET_VECTOR(short, short)
GPUNET_VECTOR(unsigned short, ushort)
GPUNET_VECTOR(int, int)
GPUNET_VECTOR1234(unsigned, uint)
GPUNET_VECTOR(long long, longlong)
GPUNET_VECTOR(unsigned long long, ulonglong)
GPUNET_VECTOR(float, float)
GPUNET_VECTOR(double, double)

// ---------------------------------------------------------------- barriers, fences, traps

static inline void __syncthreads() { gpunet_barrier(0); }
static inline int __syncthreads_count(int predicate) { return gpunet_barrier(predicate != 0); }
static inline int __syncthreads_or(int predicate) { return gpunet_barrier(predicate != 0) != 0; }
static inline int __syncthreads_and(int predicate) { return gpunet_barrier(predicate == 0) == 0; }
static inline void __threadfence() { gpunet_fence(); }
static inline void __threadfence_block() {}
static inline void __threadfence_system() { gpunet_fence(); }
#define __trap() gpunet_trap("__trap()")

// ---------------------------------------------------------------- warp collectives

static inline unsigned __activemask() { return gpunet_live_lanes(); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { gpunet_collective(mask, nullptr, nullptr); }

namespace gpunet {

static inline int lane() { return gpunet_thread.linear_index & 31; }

template <class T>
struct Shuffle {
    T value, result;
    int source;
    // What a lane outside the mask would send is undefined in CUDA: 0xff here, so that it shows.
    static void run(unsigned mask, void** posts) {
        for (int lane = 0; lane < 32; lane++) {
            if (!(mask >> lane & 1)) continue;
            Shuffle* post = (Shuffle*)posts[lane];
            if (mask >> post->source & 1)
                post->result = ((Shuffle*)posts[post->source])->value;
            else
                memset((void*)&post->result, 0xff, sizeof(T));
        }
    }
};
template <class T>
static inline T shuffle(unsigned mask, T value, int source) {
    Shuffle<T> post{value, value, source};
    gpunet_collective(mask, Shuffle<T>::run, &post);
    return post.result;
}

struct Add { template <class T> static T of(T a, T b) { return a + b; } };
struct Max { template <class T> static T of(T a, T b) { return b > a ? b : a; } };
struct Min { template <class T> static T of(T a, T b) { return b < a ? b : a; } };
struct Or { template <class T> static T of(T a, T b) { return a | b; } };
struct And { template <class T> static T of(T a, T b) { return a & b; } };
struct Xor { template <class T> static T of(T a, T b) { return a ^ b; } };

template <class Operator, class T>
static void reduce_lanes(unsigned mask, void** posts) {
    int first = __builtin_ctz(mask);
    T result = *(T*)posts[first];
    for (int lane = first + 1; lane < 32; lane++)
        if (mask >> lane & 1) result = Operator::of(result, *(T*)posts[lane]);
    for (int lane = first; lane < 32; lane++)
        if (mask >> lane & 1) *(T*)posts[lane] = result;
}
template <class Operator, class T>
static inline T reduce(unsigned mask, T value) {
    gpunet_collective(mask, reduce_lanes<Operator, T>, &value);
    return value;
}

}  // namespace gpunet

// The GPU takes 5 bits of a distance.
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return gpunet::shuffle(mask, value, (gpunet::lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = gpunet::lane(), source = lane ^ (bits & 31);
    return gpunet::shuffle(mask, value, (source & ~(width - 1)) > (lane & ~(width - 1)) ? lane : source);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = gpunet::lane();
    int distance = delta & 31;
    return gpunet::shuffle(mask, value, (lane & (width - 1)) + distance >= width ? lane : lane + distance);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = gpunet::lane();
    int distance = delta & 31;
    return gpunet::shuffle(mask, value, (lane & (width - 1)) < distance ? lane : lane - distance);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return gpunet::reduce<gpunet::Or>(mask, predicate ? 1u << gpunet::lane() : 0u);
}
static inline int __any_sync(unsigned mask, int predicate) {
    return gpunet::reduce<gpunet::Or>(mask, (int)(predicate != 0));
}
static inline int __all_sync(unsigned mask, int predicate) {
    return gpunet::reduce<gpunet::And>(mask, (int)(predicate != 0));
}
#define GPUNET_REDUCE(name, Operator, type)                          \
    static inline type __reduce_##name##_sync(unsigned mask, type v) { \
        return gpunet::reduce<gpunet::Operator>(mask, v);              \
    }
GPUNET_REDUCE(add, Add, unsigned) GPUNET_REDUCE(add, Add, int)
GPUNET_REDUCE(min, Min, unsigned) GPUNET_REDUCE(min, Min, int)
GPUNET_REDUCE(max, Max, unsigned) GPUNET_REDUCE(max, Max, int)
GPUNET_REDUCE(or, Or, unsigned) GPUNET_REDUCE(and, And, unsigned) GPUNET_REDUCE(xor, Xor, unsigned)

// ---------------------------------------------------------------- bits

namespace gpunet {
template <class To, class From>
static inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace gpunet

static inline int __float_as_int(float x) { return gpunet::bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return gpunet::bits<unsigned>(x); }
static inline float __int_as_float(int x) { return gpunet::bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return gpunet::bits<float>(x); }
static inline long long __double_as_longlong(double x) { return gpunet::bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return gpunet::bits<double>(x); }
static inline double __hiloint2double(int hi, int lo) {
    return gpunet::bits<double>((uint64_t)(unsigned)hi << 32 | (unsigned)lo);
}
static inline int __double2hiint(double x) { return (int)(gpunet::bits<uint64_t>(x) >> 32); }
static inline int __double2loint(double x) { return (int)gpunet::bits<uint64_t>(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
static inline int __mulhi(int a, int b) { return (int64_t)a * b >> 32; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
static inline long long __mul64hi(long long a, long long b) { return (__int128)a * b >> 64; }
static inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }

// ---------------------------------------------------------------- arithmetic

// glibc declares functions of these names, so they must be macros.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __powf(x, y) powf(x, y)
#define __sincosf(x, s, c) sincosf(x, s, c)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return rsqrtf(x); }
static inline float __frsqrt_rn(float x) { return (float)(1.0 / sqrt((double)x)); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double x) { return sqrt(x); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

namespace gpunet {
// CUDA promises that these are never contracted to a fused operation.
template <class T>
static inline T uncontracted(T x) {
    asm("" : "+x"(x));
    return x;
}
}  // namespace gpunet
static inline float __fadd_rn(float a, float b) { return gpunet::uncontracted(a + b); }
static inline float __fsub_rn(float a, float b) { return gpunet::uncontracted(a - b); }
static inline float __fmul_rn(float a, float b) { return gpunet::uncontracted(a * b); }
static inline double __dadd_rn(double a, double b) { return gpunet::uncontracted(a + b); }
static inline double __dsub_rn(double a, double b) { return gpunet::uncontracted(a - b); }
static inline double __dmul_rn(double a, double b) { return gpunet::uncontracted(a * b); }

namespace gpunet {
// CUDA's conversions clamp; NaN becomes 0 (int) here as there.
template <class To, class From>
static inline To clamp_to(From x) {
    const To low = std::is_signed<To>::value ? (To)1 << (sizeof(To) * 8 - 1) : 0, high = ~low;
    if (!(x == x)) return 0;
    return x <= (From)low ? low : x >= (From)high ? high : (To)x;
}
}  // namespace gpunet
static inline int __float2int_rn(float x) { return gpunet::clamp_to<int>(rintf(x)); }
static inline int __float2int_rz(float x) { return gpunet::clamp_to<int>(truncf(x)); }
static inline int __float2int_rd(float x) { return gpunet::clamp_to<int>(floorf(x)); }
static inline int __float2int_ru(float x) { return gpunet::clamp_to<int>(ceilf(x)); }
static inline unsigned __float2uint_rn(float x) { return gpunet::clamp_to<unsigned>(rintf(x)); }
static inline unsigned __float2uint_rz(float x) { return gpunet::clamp_to<unsigned>(truncf(x)); }
static inline int __double2int_rn(double x) { return gpunet::clamp_to<int>(rint(x)); }
static inline int __double2int_rz(double x) { return gpunet::clamp_to<int>(trunc(x)); }
static inline float __double2float_rn(double x) { return (float)x; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline double __int2double_rn(int x) { return x; }
static inline double __uint2double_rn(unsigned x) { return x; }

template <class A, class B>
static inline std::common_type_t<A, B> min(A a, B b) {
    if constexpr (std::is_floating_point<std::common_type_t<A, B>>::value) return fmin(a, b);  // NaN loses
    std::common_type_t<A, B> x = a, y = b;
    return y < x ? y : x;
}
template <class A, class B>
static inline std::common_type_t<A, B> max(A a, B b) {
    if constexpr (std::is_floating_point<std::common_type_t<A, B>>::value) return fmax(a, b);
    std::common_type_t<A, B> x = a, y = b;
    return x < y ? y : x;
}
static inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }
static inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }

// ---------------------------------------------------------------- memory

// Inlined always, so that a report finds the kernel's line round them (build.source_line).
template <class T> static __forceinline__ T __ldg(const T* p) { return *p; }
template <class T> static __forceinline__ T __ldca(const T* p) { return *p; }
template <class T> static __forceinline__ T __ldcg(const T* p) { return *p; }
template <class T> static __forceinline__ T __ldcs(const T* p) { return *p; }
template <class T> static __forceinline__ void __stcg(T* p, T value) { *p = value; }
template <class T> static __forceinline__ void __stcs(T* p, T value) { *p = value; }

namespace gpunet {

// Real atomics, since blocks run on several OS threads.
template <class T, class Change>
__attribute__((no_sanitize("thread"))) static T exchange(T* address, Change change) {
    using Word = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>;
    Word *word = (Word*)address, before = __atomic_load_n(word, __ATOMIC_RELAXED), after;
    do
        after = bits<Word>((T)change(bits<T>(before)));
    while (!__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return bits<T>(before);
}
template <class T, class Change>
static __forceinline__ T atomic(T* address, Change change) {
#ifdef GPUNET_INSTRUMENTED
    gpunet_access(address, sizeof(T), GPUNET_ATOMIC);
#endif
    return exchange(address, change);
}

}  // namespace gpunet

#define GPUNET_ATOMIC_TYPE(name, type, result)                                  \
    static __forceinline__ type name(type* address, type value) {                \
        return gpunet::atomic(address, [=](type old) -> type { return result; }); \
    }
#define GPUNET_ATOMIC_INTEGER(name, result)                    \
    GPUNET_ATOMIC_TYPE(name, int, result)                      \
    GPUNET_ATOMIC_TYPE(name, unsigned, result)                 \
    GPUNET_ATOMIC_TYPE(name, unsigned long long, result)
GPUNET_ATOMIC_INTEGER(atomicAdd, old + value)
GPUNET_ATOMIC_TYPE(atomicAdd, float, old + value)
GPUNET_ATOMIC_TYPE(atomicAdd, double, old + value)
GPUNET_ATOMIC_TYPE(atomicSub, int, old - value)
GPUNET_ATOMIC_TYPE(atomicSub, unsigned, old - value)
GPUNET_ATOMIC_INTEGER(atomicExch, value)
GPUNET_ATOMIC_TYPE(atomicExch, float, value)
GPUNET_ATOMIC_INTEGER(atomicMin, value < old ? value : old)
GPUNET_ATOMIC_TYPE(atomicMin, long long, value < old ? value : old)
GPUNET_ATOMIC_INTEGER(atomicMax, value > old ? value : old)
GPUNET_ATOMIC_TYPE(atomicMax, long long, value > old ? value : old)
GPUNET_ATOMIC_INTEGER(atomicAnd, old& value)
GPUNET_ATOMIC_INTEGER(atomicOr, old | value)
GPUNET_ATOMIC_INTEGER(atomicXor, old ^ value)
GPUNET_ATOMIC_TYPE(atomicInc, unsigned, old >= value ? 0 : old + 1)
GPUNET_ATOMIC_TYPE(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
#define GPUNET_ATOMIC_CAS(type)                                                                   \
    static __forceinline__ type atomicCAS(type* address, type expected, type value) {              \
        return gpunet::atomic(address, [=](type old) { return old == expected ? value : old; });   \
    }
GPUNET_ATOMIC_CAS(int) GPUNET_ATOMIC_CAS(unsigned) GPUNET_ATOMIC_CAS(unsigned long long)
GPUNET_ATOMIC_CAS(unsigned short)

#ifdef GPUNET_INSTRUMENTED
// The compiler instruments what a kernel does, not what libc does for it.
namespace gpunet {
template <void* (*function)(void*, const void*, size_t)>
static __forceinline__ void* checked_copy(void* to, const void* from, size_t size) {
    gpunet_access(from, size, GPUNET_READ);
    gpunet_access(to, size, GPUNET_WRITE);
    return function(to, from, size);
}
static __forceinline__ void* checked_set(void* to, int value, size_t size) {
    gpunet_access(to, size, GPUNET_WRITE);
    return memset(to, value, size);
}
}  // namespace gpunet
#define memcpy gpunet::checked_copy<::memcpy>
#define memmove gpunet::checked_copy<::memmove>
#define memset gpunet::checked_set
#endif

#include "tensor_core.h"

// ---------------------------------------------------------------- what a library tells of its kernels

namespace gpunet {

template <class T>
constexpr int kind_of() {
    if (std::is_void<T>::value) return 'v';
    if (std::is_same<T, bool>::value) return 'b';
    if (std::is_pointer<T>::value) return 'p';
    if (std::is_floating_point<T>::value) return 'f';
    if (std::is_integral<T>::value) return std::is_signed<T>::value ? 'i' : 'u';
    return 's';
}
template <class T> struct Size { static constexpr int size = sizeof(T), align = alignof(T); };
template <> struct Size<void> { static constexpr int size = 0, align = 1; };

template <auto kernel> struct Entry;
template <class... A, void (*kernel)(A...)>
struct Entry<kernel> {
    static constexpr int count = sizeof...(A);

    struct Offsets {
        int of[count + 1];
        constexpr Offsets() : of() {
            const int sizes[] = {(int)sizeof(A)..., 0}, aligns[] = {(int)alignof(A)..., 1};
            for (int i = 0, end = 0; i < count; i++) {
                of[i] = (end + aligns[i] - 1) / aligns[i] * aligns[i];
                end = of[i] + sizes[i];
            }
        }
    };
    static constexpr Offsets offsets{};

    template <class T>
    static constexpr GpunetParameter parameter(const char* name, int offset) {
        using Pointee = std::remove_pointer_t<T>;
        using Bare = std::remove_cv_t<Pointee>;
        if (!std::is_pointer<T>::value) return {name, kind_of<T>(), (int)sizeof(T), offset, 0, 0, (int)alignof(T), 0};
        return {name, 'p', sizeof(void*), offset, kind_of<Bare>(), Size<Bare>::size, Size<Bare>::align,
                std::is_const<Pointee>::value};
    }
    struct Parameters {
        GpunetParameter list[count + 1];
        template <size_t... I>
        Parameters(const char* const* names, std::index_sequence<I...>)
            : list{parameter<std::remove_cv_t<A>>(names[I], offsets.of[I])...} {}
    };
    // Not instrumented: the guard of the static would call into libtsan, which is never linked.
    __attribute__((no_sanitize("thread"))) static const GpunetParameter* parameters(const char* const* names) {
        static Parameters all(names, std::index_sequence_for<A...>{});
        return all.list;
    }

    template <size_t... I>
    static inline void call(const char* arguments, std::index_sequence<I...>) {
        kernel(*(std::remove_cv_t<A>*)(arguments + offsets.of[I])...);
    }
    static void run(const char* arguments) {
        while (gpunet_next_thread()) call(arguments, std::index_sequence_for<A...>{});
    }
};

constexpr int launch_bounds(int threads = 1024, int = 0, int = 0) { return threads; }

}  // namespace gpunet

#ifdef GPUNET_ASAN
#define GPUNET_LIBRARY static GpunetLibrary gpunet_library = {nullptr, 0, -1};
#else
#define GPUNET_LIBRARY                                                   \
    static __thread char gpunet_shared_anchor;                           \
    static char* gpunet_anchor() { return &gpunet_shared_anchor; }       \
    static GpunetLibrary gpunet_library = {gpunet_anchor, 0, -1};
#endif
