// What a compiled kernel and the runtime (runtime.cpp, race.cpp) know of each other.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct uint3 {
    unsigned x, y, z;
};

// The CUDA thread that runs on this OS thread at the moment.
struct GpunetThread {
    uint3 thread_index, block_index, block_size, grid_size;
    unsigned linear_index;  // in the block
    void* dynamic_shared;
    void* worker;
};
extern __thread GpunetThread gpunet_thread;

// A warp collective: runs once, when the last lane of the mask has arrived. posts[lane] is what that lane posted;
// results go there too. Lanes that meet at different operations are an error. nullptr is __syncwarp, which alone
// orders memory.
typedef void (*GpunetOperation)(unsigned mask, void** posts);

enum GpunetAccess { GPUNET_READ, GPUNET_WRITE, GPUNET_ATOMIC };

extern "C" {
int gpunet_next_thread();                 // the kernel's loop: ends the previous thread, starts the next one
int gpunet_barrier(int predicate);        // sum of the predicates
void gpunet_collective(unsigned mask, GpunetOperation operation, void* post);
unsigned gpunet_live_lanes();
void gpunet_access(const void* address, size_t size, int access);  // race and banks mode: an access to check
void gpunet_access_at(const void* address, size_t size, int access, const void* site);  // of the code at `site`
int gpunet_is_shared(const void* address);  // asan mode knows of dynamic shared memory alone, and says yes
void gpunet_copy_async(void* to, const void* bytes, int size);  // lands at the wait for its group
void gpunet_copy_commit();
void gpunet_copy_wait(int newest);
void gpunet_fence();
[[noreturn]] void gpunet_trap(const char* message);
}

// What warps did at one place in the code to shared memory; read by banks.py, so fields and their order are fixed.
struct GpunetSharedAccess {
    const void* site;  // address of the code
    int size, kind;    // bytes of a lane; GpunetAccess
    int64_t accesses, phases, wavefronts;
    int worst;  // most wavefronts of a phase
};

// What a library of kernels says of itself; read by module.py, so fields and their order are fixed.
struct GpunetParameter {
    const char* name;
    int kind;            // 'p'ointer, 'i'nt, 'u'nsigned, 'f'loat, 's'truct
    int size, offset;    // bytes, in the argument buffer
    int pointee_kind;    // likewise, and 'b'ool or 'v'oid
    int pointee_size, pointee_align, pointee_const;
};
struct GpunetLibrary {
    char* (*anchor)();   // address of a thread-local variable: all thread-local data is static shared memory
    int64_t shared_offset, shared_size;  // of the anchor in that data, filled by the runtime; size -1: unknown
};
struct GpunetKernel {
    const char* name;
    void (*run)(const char* arguments);  // all threads of a block, by gpunet_next_thread
    int max_threads;                     // of a block: the launch bounds
    int parameter_count;
    const GpunetParameter* parameters;
    GpunetLibrary* library;
};
