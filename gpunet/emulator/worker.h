// The state of one OS thread that runs blocks, shared by the scheduler (runtime.cpp) and what watches memory (race.cpp,
// banks.cpp).
#pragma once
#include <atomic>

#include "runtime.h"

const int MAX_THREADS = 1024, MAX_WARPS = 32;
#ifdef GPUNET_ASAN
const size_t STACK = 256 << 10;
#else
const size_t STACK = 64 << 10;
#endif
// Stacks are not a power of two apart: their hot ends would share a few cache sets.
const size_t STACK_STRIDE = STACK + 4096 + 5 * 64;

enum Schedule { FORWARD, REVERSE, RANDOM };

struct Launch {
    const GpunetKernel* kernel;
    const char* arguments;
    uint3 grid, block;
    size_t dynamic_size;
    int schedule;
    unsigned seed;
    int64_t blocks, block_stride;
    std::atomic<int64_t> next_block{0};
    std::atomic<bool> failed{false};
    char message[1024];
};

// Lanes that wait at one collective.
struct Group {
    unsigned mask, arrived;
    GpunetOperation operation;
};

struct Warp {
    unsigned live;  // lanes that have not returned
    int group_count;
    Group groups[32];
    void* posts[32];
    short fibers[32];
};

struct Range {
    char* begin;
    size_t size;
    bool contains(const void* address) const { return (size_t)((const char*)address - begin) < size; }
};

struct Worker {
    Launch* launch;
    int64_t block;
    uint64_t random_state;
    Range static_shared, dynamic_shared, stacks;

    // Threads of the block.
    int threads, started, live;
    short order[MAX_THREADS];
    uint3 index[MAX_THREADS];
    Warp warps[MAX_WARPS];

    // Fibers: one per thread that waits, and one that runs. -1 is the block loop itself.
    int fiber, fiber_count;
    void* loop_stack_pointer;
    void* stack_pointer[MAX_THREADS];
    short thread_of[MAX_THREADS];  // -1: none
    short unused[MAX_THREADS];     // fibers whose loop has ended
    int unused_count;
    short ready[MAX_THREADS];  // a ring of fibers that may go on
    int ready_head, ready_count;

    // The barrier of the block.
    short waiting[MAX_THREADS];
    int waiting_count, predicate_sum, predicate_result, barrier_epoch;
    bool fenced;  // a thread of the block has executed __threadfence

#ifdef GPUNET_ASAN
    void* fake_stack[MAX_THREADS];
    void* loop_fake_stack;
    const void* loop_stack_bottom;
    size_t loop_stack_size;
#endif

    unsigned random(unsigned bound) {
        random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
        return (unsigned)((random_state >> 33) % bound);
    }
    bool is_shared(const void* address) const {
        return static_shared.contains(address) || dynamic_shared.contains(address);
    }
    int current_thread() const { return fiber < 0 ? -1 : thread_of[fiber]; }
};

// Ends the launch with a message (printf style) and leaves the block. Returns only where no fiber runs.
void fail(Worker* worker, const char* format, ...) __attribute__((format(printf, 2, 3)));

void copies_begin_block();  // forgets the asynchronous copies of the block before

#ifdef GPUNET_RACE
const bool CHECK_RACES = true;
void race_begin_block(Worker* worker);
void race_sync_lanes(int warp, unsigned lanes);  // a __syncwarp of these lanes has completed
void race_end_launch();
#else
const bool CHECK_RACES = false;
inline void race_begin_block(Worker*) {}
inline void race_sync_lanes(int, unsigned) {}
inline void race_end_launch() {}
#endif

#ifdef GPUNET_BANKS
void banks_begin_launch();
void banks_lanes_meet(int first_warp, int last_warp);  // all live lanes of these warps, each in its own
#else
inline void banks_begin_launch() {}
inline void banks_lanes_meet(int, int) {}
#endif

// "block (x,y,z)" of a linear block number, for printf: BLOCK_FORMAT with BLOCK_VALUES.
#define BLOCK_FORMAT "block (%ld,%ld,%ld)"
#define BLOCK_VALUES(launch, block)                                                                    \
    (long)((block) % (launch)->grid.x), (long)((block) / (launch)->grid.x % (launch)->grid.y),          \
        (long)((block) / ((int64_t)(launch)->grid.x * (launch)->grid.y))
