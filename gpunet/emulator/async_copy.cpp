// Asynchronous copies to shared memory (cp.async). A copy lands when its thread waits for its group, never earlier, and
// until then the destination holds 0xff: a wait that is missing or too weak shows every time, not sometimes.
#include <string.h>

#include <vector>

#include "worker.h"

namespace {

struct Copy {
    void* to;
    const void* site;  // address of the code that issued it
    int size, group;
    char bytes[16];
};

struct ThreadCopies {
    std::vector<Copy> pending;  // in the order of issue
    int committed = 0;          // groups so far
};
thread_local ThreadCopies copies_of[MAX_THREADS];
thread_local int used_threads = 0;  // those below may have copies

ThreadCopies& current_copies() {
    int thread = ((Worker*)gpunet_thread.worker)->current_thread();
    if (thread >= used_threads) used_threads = thread + 1;
    return copies_of[thread];
}

}  // namespace

void copies_begin_block() {
    for (int thread = 0; thread < used_threads; thread++) {
        copies_of[thread].pending.clear();
        copies_of[thread].committed = 0;
    }
    used_threads = 0;
}

extern "C" void gpunet_copy_async(void* to, const void* bytes, int size) {
    ThreadCopies& own = current_copies();
    Copy copy{to, __builtin_return_address(0), size, own.committed, {}};
    memcpy(copy.bytes, bytes, size);
    own.pending.push_back(copy);
}

extern "C" void gpunet_copy_commit() { current_copies().committed++; }

extern "C" void gpunet_copy_wait(int newest) {
    ThreadCopies& own = current_copies();
    size_t landed = 0;
    while (landed < own.pending.size() && own.pending[landed].group < own.committed - newest) {
        Copy& copy = own.pending[landed++];
        gpunet_access_at(copy.to, copy.size, GPUNET_WRITE, copy.site);
        memcpy(copy.to, copy.bytes, copy.size);
    }
    own.pending.erase(own.pending.begin(), own.pending.begin() + landed);
}
