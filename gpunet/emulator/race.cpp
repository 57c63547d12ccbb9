// The data race detector of race mode. Kernels are compiled with -fsanitize=thread, but the callbacks are these:
// threads of a block are fibers, so libtsan would see nothing. Per byte it keeps the last write, the last read and
// whether others read too; two accesses are ordered by __syncthreads, by __syncwarp within a warp, and between
// blocks by an atomic on one word that follows a __threadfence. Shuffles order nothing, as in CUDA.
#ifdef GPUNET_RACE
#include <stdio.h>

#include <unordered_map>
#include <vector>

#include "worker.h"

namespace {

struct Access {
    int64_t block = -1;  // -1: none
    int barrier_epoch, sync_epoch;
    short thread;
    const void* site;  // address of the code
};

enum Readers : char { ONE, LANES_OF_A_WARP, SEVERAL_WARPS };

struct Cell {
    Access write, read;
    bool atomic_write = false;
    Readers readers = ONE;        // since the last write, in the last reader's block and epoch
    bool several_blocks = false;  // have read since the last write
};

const uintptr_t PAGE = 4096;
std::unordered_map<uintptr_t, Cell*> pages;
uintptr_t last_page = 0;
Cell* last_cells = nullptr;

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

bool same_warp(const Access& a, const Access& b) { return a.thread / 32 == b.thread / 32; }

// Whether something orders an earlier access before the current one.
bool ordered(const Access& earlier, const Access& now, bool shared) {
    if (earlier.block != now.block) return shared || has_acquired(earlier.block);  // blocks reuse shared memory
    return earlier.thread == now.thread || earlier.barrier_epoch != now.barrier_epoch ||
           (same_warp(earlier, now) && earlier.sync_epoch != now.sync_epoch);
}

bool reads_ordered(const Cell& cell, const Access& now, bool shared) {
    const Access& read = cell.read;
    if (read.block < 0) return true;
    if (!ordered(read, now, shared)) return false;
    if (cell.several_blocks && !shared) return acquired.size() > 0;  // which ones is not remembered
    if (read.block != now.block || read.barrier_epoch != now.barrier_epoch) return true;
    if (cell.readers == SEVERAL_WARPS) return false;
    return !(cell.readers == LANES_OF_A_WARP && read.sync_epoch == now.sync_epoch);
}

void note_read(Cell& cell, const Access& now) {
    const Access& read = cell.read;
    if (read.block >= 0 && read.block != now.block) cell.several_blocks = true;
    if (read.block != now.block || read.barrier_epoch != now.barrier_epoch)
        cell.readers = ONE;
    else if (cell.readers == SEVERAL_WARPS || !same_warp(read, now))
        cell.readers = SEVERAL_WARPS;
    else if (read.sync_epoch == now.sync_epoch && (cell.readers == LANES_OF_A_WARP || read.thread != now.thread))
        cell.readers = LANES_OF_A_WARP;
    else
        cell.readers = ONE;
    cell.read = now;
}

void note_write(Cell& cell, const Access& now, bool atomic) {
    cell.write = now;
    cell.atomic_write = atomic;
    cell.read.block = -1;
    cell.readers = ONE;
    cell.several_blocks = false;
}

// {address}, {shared} and {site} are put into words by module.py, which knows arguments, variables and lines.
void report(Worker* worker, const void* address, const char* what, const Access& now, const char* earlier_what,
            const Access& earlier) {
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
    Access now{worker->block, worker->barrier_epoch, worker->warps[thread / 32].sync_epoch, (short)thread, site};
    bool shared = worker->static_shared.contains(pointer) || worker->dynamic_shared.contains(pointer);
    bool atomic = kind == GPUNET_ATOMIC;
    if (atomic && !shared) {
        std::vector<int64_t>& blocks = releases[pointer];
        if (worker->fenced) blocks.push_back(worker->block);
        acquired[pointer] = blocks.size();
    }
    for (size_t i = 0; i < size; i++) {
        Cell& cell = *cell_of((uintptr_t)pointer + i);
        if (cell.write.block >= 0 && !(atomic && cell.atomic_write) && !ordered(cell.write, now, shared))
            report(worker, pointer, kind == GPUNET_READ ? "read" : "write", now, "a write", cell.write);
        if (kind == GPUNET_WRITE && !reads_ordered(cell, now, shared))
            report(worker, pointer, "write", now, cell.readers || cell.several_blocks ? "reads, the last" : "a read",
                   cell.read);
        if (kind == GPUNET_READ)
            note_read(cell, now);
        else
            note_write(cell, now, atomic);
    }
}

}  // namespace

void race_begin_block(Worker*) { acquired.clear(); }

void race_end_launch() {
    for (auto& page : pages) delete[] page.second;
    pages.clear();
    last_page = 0;
    releases.clear();
    acquired.clear();
}

#define SITE __builtin_return_address(0)
#define CALLBACKS(size)                                                                                     \
    void __tsan_read##size(void* p) { check(p, size, GPUNET_READ, SITE); }                                  \
    void __tsan_write##size(void* p) { check(p, size, GPUNET_WRITE, SITE); }                                \
    void __tsan_unaligned_read##size(void* p) { check(p, size, GPUNET_READ, SITE); }                        \
    void __tsan_unaligned_write##size(void* p) { check(p, size, GPUNET_WRITE, SITE); }

extern "C" {
CALLBACKS(1)
CALLBACKS(2)
CALLBACKS(4)
CALLBACKS(8)
CALLBACKS(16)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* p, unsigned long size) { check(p, size, GPUNET_READ, SITE); }
void __tsan_write_range(void* p, unsigned long size) { check(p, size, GPUNET_WRITE, SITE); }
void gpunet_access(const void* p, size_t size, int access) { check(p, size, access, SITE); }
}
#else
#include "runtime.h"
extern "C" void gpunet_access(const void*, size_t, int) {}
#endif
