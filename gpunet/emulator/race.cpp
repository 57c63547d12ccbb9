// The data race detector of race mode. Kernels are compiled with -fsanitize=thread, but the callbacks are these:
// threads of a block are fibers, so libtsan would see nothing. Per byte it keeps the last write and, since then, the
// reads and the atomics, which race with all but each other. Two accesses are ordered by __syncthreads, by each
// __syncwarp among the lanes that take part, and between blocks by an atomic on one word that follows a __threadfence.
// Shuffles order nothing, as in CUDA.
#ifdef GPUNET_RACE
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <deque>
#include <unordered_map>
#include <vector>

#include "worker.h"

namespace {

// The vector clocks of a warp. Its time is the number of __syncwarp in it so far, of any lanes. What lane b does now is
// ordered after all that lane a did before time known[b][a].
struct Clocks {
    int time;
    int known[32][32];
};
Clocks clocks[MAX_WARPS];

struct Access {
    int64_t block = -1;  // -1: none
    const void* site;    // address of the code
    int barrier_epoch, time;
    short thread;
};

// Accesses to one byte, all those that a later one can race with: the last one, and what is needed of the others.
struct Accesses : Access {
    bool several_warps = false, several_blocks = false;  // several_warps, lanes: in the last one's block and epoch
    unsigned lanes = 0;                                  // of the last one's warp
    int* times = nullptr;                                // of each lane; null: the last one's time for all

    void add(const Access& now);
    void clear();
    bool several() const { return several_blocks || several_warps || (lanes & (lanes - 1)); }
};

struct Cell {
    Access write;
    Accesses reads;               // since the last write
    Accesses* atomics = nullptr;  // likewise; few bytes ever have one
};

const uintptr_t PAGE = 4096;
std::unordered_map<uintptr_t, Cell*> pages;
uintptr_t last_page = 0;
Cell* last_cells = nullptr;
std::deque<std::array<int, 32>> lane_times;  // owns Accesses::times
std::deque<Accesses> atomics;                // owns Cell::atomics

// Blocks that have fenced and then done an atomic on a word, in order; and for the current block how many of
// them its own atomic on that word has seen.
std::unordered_map<const void*, std::vector<int64_t>> releases;
std::unordered_map<const void*, size_t> acquired;

Cell* cell_of(uintptr_t address) {
    uintptr_t page = address / PAGE;
    if (page != last_page) {
        Cell*& cells = pages[page];
        if (!cells) cells = new Cell[PAGE];
        last_page = page;
        last_cells = cells;
    }
    return &last_cells[address % PAGE];
}

bool has_acquired(int64_t block) {
    for (auto& [word, count] : acquired) {
        const std::vector<int64_t>& blocks = releases[word];
        for (size_t i = 0; i < count; i++)
            if (blocks[i] == block) return true;
    }
    return false;
}

// Whether something orders an earlier access of a lane of the current block, warp and epoch before the current one.
bool lane_before(int earlier_lane, int earlier_time, const Access& now) {
    int lane = now.thread % 32;
    return earlier_lane == lane || earlier_time < clocks[now.thread / 32].known[lane][earlier_lane];
}

// Likewise for any access.
bool before(const Access& earlier, const Access& now, bool shared) {
    if (earlier.block < 0) return true;
    if (earlier.block != now.block) return shared || has_acquired(earlier.block);  // blocks reuse shared memory
    if (earlier.barrier_epoch != now.barrier_epoch) return true;
    return earlier.thread / 32 == now.thread / 32 && lane_before(earlier.thread % 32, earlier.time, now);
}

bool all_before(const Accesses& earlier, const Access& now, bool shared) {
    if (!before(earlier, now, shared)) return false;
    if (earlier.several_blocks && !shared && acquired.empty()) return false;  // which ones is not remembered
    if (earlier.block != now.block || earlier.barrier_epoch != now.barrier_epoch) return true;
    if (earlier.several_warps) return false;
    for (unsigned lanes = earlier.lanes; lanes; lanes &= lanes - 1) {
        int lane = __builtin_ctz(lanes);
        if (!lane_before(lane, earlier.times ? earlier.times[lane] : earlier.time, now)) return false;
    }
    return true;
}

void Accesses::add(const Access& now) {
    if (block >= 0 && block != now.block) several_blocks = true;
    if (block != now.block || barrier_epoch != now.barrier_epoch) {
        several_warps = false;
        lanes = 0;
    } else if (thread / 32 != now.thread / 32) {
        several_warps = true;
    } else if (time != now.time && !times) {
        lane_times.emplace_back().fill(time);
        times = lane_times.back().data();
    }
    (Access&)*this = now;
    lanes |= 1u << now.thread % 32;
    if (times) times[now.thread % 32] = now.time;
}

void Accesses::clear() {
    block = -1;
    several_blocks = false;
}

// {address}, {shared} and {site} are put into words by module.py, which knows arguments, variables and lines.
__attribute__((cold, noinline)) void report(Worker* worker, const void* address, int kind, const Access& now,
                                            const char* earlier_what, const Access& earlier) {
    const char* what = kind == GPUNET_READ ? "read" : kind == GPUNET_WRITE ? "write" : "atomic";
    char place[80];
    if (worker->dynamic_shared.contains(address))
        snprintf(place, sizeof place, "dynamic shared memory, byte offset %ld",
                 (long)((const char*)address - worker->dynamic_shared.begin));
    else if (worker->static_shared.contains(address))
        snprintf(place, sizeof place, "{shared %lx}", (long)((const char*)address - worker->static_shared.begin));
    else
        snprintf(place, sizeof place, "{address %lx}", (unsigned long)address);
    fail(worker, "race in %s: %s by thread %d of " BLOCK_FORMAT "{site %lx}, after %s by thread %d of " BLOCK_FORMAT
         "{site %lx}, with no barrier between them", place, what, now.thread, BLOCK_VALUES(worker->launch, now.block),
         (unsigned long)now.site, earlier_what, earlier.thread, BLOCK_VALUES(worker->launch, earlier.block),
         (unsigned long)earlier.site);
}

void check(const void* pointer, size_t size, int kind, const void* site) {
    Worker* worker = (Worker*)gpunet_thread.worker;
    if (!worker || worker->stacks.contains(pointer)) return;  // local variables
    if ((size_t)((const char*)pointer - (const char*)&gpunet_thread) < sizeof gpunet_thread) return;
    int thread = worker->current_thread();
    if (thread < 0) return;
    Access now{worker->block, site, worker->barrier_epoch, clocks[thread / 32].time, (short)thread};
    bool shared = worker->is_shared(pointer);
    if (kind == GPUNET_ATOMIC && !shared) {
        std::vector<int64_t>& blocks = releases[pointer];
        if (worker->fenced) blocks.push_back(worker->block);
        acquired[pointer] = blocks.size();
    }
    for (size_t i = 0; i < size; i++) {
        Cell& cell = *cell_of((uintptr_t)pointer + i);
        if (!before(cell.write, now, shared)) report(worker, pointer, kind, now, "a write", cell.write);
        if (cell.atomics && kind != GPUNET_ATOMIC && !all_before(*cell.atomics, now, shared))
            report(worker, pointer, kind, now, cell.atomics->several() ? "atomics, the last" : "an atomic",
                   *cell.atomics);
        if (kind != GPUNET_READ && !all_before(cell.reads, now, shared))
            report(worker, pointer, kind, now, cell.reads.several() ? "reads, the last" : "a read", cell.reads);
        if (kind == GPUNET_READ) {
            cell.reads.add(now);
        } else if (kind == GPUNET_ATOMIC) {
            if (!cell.atomics) cell.atomics = &atomics.emplace_back();
            cell.atomics->add(now);
        } else {
            cell.write = now;
            cell.reads.clear();
            if (cell.atomics) cell.atomics->clear();
        }
    }
}

}  // namespace

void race_begin_block(Worker*) { acquired.clear(); }  // clocks go on

void race_sync_lanes(int warp, unsigned lanes) {
    Clocks& clock = clocks[warp];
    clock.time++;
    int joined[32] = {};
    for (int lane = 0; lane < 32; lane++) {
        if (!(lanes >> lane & 1)) continue;
        clock.known[lane][lane] = clock.time;
        for (int other = 0; other < 32; other++) joined[other] = std::max(joined[other], clock.known[lane][other]);
    }
    for (int lane = 0; lane < 32; lane++)
        if (lanes >> lane & 1) memcpy(clock.known[lane], joined, sizeof joined);
}

void race_end_launch() {
    for (auto& page : pages) delete[] page.second;
    pages.clear();
    lane_times.clear();
    atomics.clear();
    memset(clocks, 0, sizeof clocks);
    last_page = 0;
    releases.clear();
    acquired.clear();
}

#include "callbacks.h"
extern "C" void gpunet_access_at(const void* p, size_t size, int access, const void* site) { check(p, size, access, site); }
#elif !defined(GPUNET_BANKS)
#include "runtime.h"
extern "C" void gpunet_access(const void*, size_t, int) {}
extern "C" void gpunet_access_at(const void*, size_t, int, const void*) {}
#endif
