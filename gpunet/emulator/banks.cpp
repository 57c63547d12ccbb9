// Counts the bank conflicts of banks mode. Shared memory has 32 banks of 4-byte words, neighbours in neighbouring
// banks, and serves one word of each bank in a wavefront. A warp's access goes in phases of at most 128 bytes: of all
// its lanes where they take 4 bytes or fewer, of 16 lanes for 8 bytes, of 8 for 16 bytes, as the rows of ldmatrix and
// what cp.async stores. A phase needs as many wavefronts as it touches different words in its worst bank; equal words
// are sent to all lanes at once.
#ifdef GPUNET_BANKS
#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "worker.h"

namespace {

const int LANES = 32, BANKS = 32, WORD = 4;

// One access of a warp: the same execution, counted since its lanes last met, of one place in the code.
struct WarpAccess {
    unsigned lanes = 0;
    uintptr_t address[LANES];
};

struct Place {
    std::vector<WarpAccess> accesses;
    int executions[LANES] = {};
};

struct Kind {
    const void* site;  // address of the code
    int size, kind;
    bool operator<(const Kind& other) const {
        return std::tie(site, size, kind) < std::tie(other.site, other.size, other.kind);
    }
};
std::map<Kind, Place> pending[MAX_WARPS];
std::map<Kind, GpunetSharedAccess> totals;

void count(const WarpAccess& access, int size, GpunetSharedAccess* total) {
    const int phase = size <= WORD ? LANES : LANES * WORD / size;
    total->accesses++;
    for (int first = 0; first < LANES; first += phase) {
        std::vector<uintptr_t> words[BANKS];
        for (int lane = first; lane < first + phase; lane++) {
            if (!(access.lanes >> lane & 1)) continue;
            for (uintptr_t word = access.address[lane] / WORD; word * WORD < access.address[lane] + size; word++) {
                std::vector<uintptr_t>& of_bank = words[word % BANKS];
                if (std::find(of_bank.begin(), of_bank.end(), word) == of_bank.end()) of_bank.push_back(word);
            }
        }
        int wavefronts = 0;
        for (const auto& of_bank : words) wavefronts = std::max(wavefronts, (int)of_bank.size());
        total->phases += wavefronts > 0;  // else none of its lanes takes part
        total->wavefronts += wavefronts;
        total->worst = std::max(total->worst, wavefronts);
    }
}

void check(const void* pointer, size_t size, int kind, const void* site) {
    Worker* worker = (Worker*)gpunet_thread.worker;
    if (!worker || !worker->is_shared(pointer)) return;
    int thread = worker->current_thread(), lane = thread % LANES;
    if (thread < 0) return;
    // What no single access can take is taken in several.
    uintptr_t address = (uintptr_t)pointer, piece = 16;
    while ((address | size) % piece) piece /= 2;
    Place& place = pending[thread / LANES][{site, (int)piece, kind}];
    for (uintptr_t offset = 0; offset < size; offset += piece) {
        size_t number = place.executions[lane]++;
        if (number == place.accesses.size()) place.accesses.emplace_back();
        place.accesses[number].lanes |= 1u << lane;
        place.accesses[number].address[lane] = address + offset;
    }
}

}  // namespace

void banks_begin_launch() { totals.clear(); }

void banks_lanes_meet(int first_warp, int last_warp) {
    for (int warp = first_warp; warp <= last_warp; warp++) {
        for (auto& [kind, place] : pending[warp]) {
            GpunetSharedAccess& total = totals[kind];
            total.site = kind.site, total.size = kind.size, total.kind = kind.kind;
            for (const WarpAccess& access : place.accesses) count(access, kind.size, &total);
        }
        pending[warp].clear();
    }
}

// What the last launch did at place number `index`; nullptr from the end on.
extern "C" const GpunetSharedAccess* gpunet_shared_access(int index) {
    if (index >= (int)totals.size()) return nullptr;
    return &std::next(totals.begin(), index)->second;
}

#include "callbacks.h"
extern "C" void gpunet_access_at(const void*, size_t, int, const void*) {}  // a copy was counted where it was issued
#endif
