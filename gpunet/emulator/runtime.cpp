// Runs a CUDA grid on the CPU. A fiber loops over the threads of a block; a thread that must wait keeps its fiber,
// and a new fiber goes on with the next thread. So a kernel that never waits is a plain loop on one stack, and
// nobody has to analyse the source. Built once per mode: fast, race (with race.cpp), banks (banks.cpp), asan.
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "worker.h"
#ifdef GPUNET_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

__thread GpunetThread gpunet_thread;

// ---------------------------------------------------------------- context switch (x86-64 System V)

// Saves the callee-saved registers and the stack pointer, and goes on with another stack.
extern "C" void gpunet_switch(void** save_stack_pointer, void* stack_pointer);
asm(R"(
    .text
    .globl gpunet_switch
    .hidden gpunet_switch
    .type gpunet_switch, @function
gpunet_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size gpunet_switch, .-gpunet_switch
)");

static Worker* current_worker() { return (Worker*)gpunet_thread.worker; }

static void run_threads();

static char* stack_bottom(Worker* worker, int fiber) { return worker->stacks.begin + fiber * STACK_STRIDE; }

// A new stack, laid out as gpunet_switch leaves one, that starts in run_threads.
static void prepare_stack(Worker* worker, int fiber) {
    char* bottom = stack_bottom(worker, fiber);
#ifdef GPUNET_ASAN
    __asan_unpoison_memory_region(bottom, STACK);
#endif
    void** top = (void**)((uintptr_t)(bottom + STACK) & ~(uintptr_t)63);
    *--top = nullptr;
    *--top = (void*)run_threads;
    for (int callee_saved = 0; callee_saved < 6; callee_saved++) *--top = nullptr;
    worker->stack_pointer[fiber] = top;
}

static void set_thread(Worker* worker, int thread) {
    gpunet_thread.thread_index = worker->index[thread];
    gpunet_thread.linear_index = thread;
}

// Leaves the current fiber (for good if it is ending) for another one, or for the block loop (-1).
static void switch_to(Worker* worker, int to, bool ending) {
    int from = worker->fiber;
    void* nowhere;
    void** save = ending ? &nowhere : from < 0 ? &worker->loop_stack_pointer : &worker->stack_pointer[from];
    worker->fiber = to;
#ifdef GPUNET_ASAN
    void** fake = ending ? nullptr : from < 0 ? &worker->loop_fake_stack : &worker->fake_stack[from];
    if (to < 0)
        __sanitizer_start_switch_fiber(fake, worker->loop_stack_bottom, worker->loop_stack_size);
    else
        __sanitizer_start_switch_fiber(fake, stack_bottom(worker, to), STACK);
#endif
    gpunet_switch(save, to < 0 ? worker->loop_stack_pointer : worker->stack_pointer[to]);
#ifdef GPUNET_ASAN
    __sanitizer_finish_switch_fiber(from < 0 ? worker->loop_fake_stack : worker->fake_stack[from], nullptr, nullptr);
#endif
    if (from >= 0) set_thread(worker, worker->thread_of[from]);
}

// ---------------------------------------------------------------- who runs next

static void make_ready(Worker* worker, int fiber) {
    worker->ready[(worker->ready_head + worker->ready_count++) % MAX_THREADS] = fiber;
}

static int take_ready(Worker* worker) {
    short* head = &worker->ready[worker->ready_head];
    if (worker->launch->schedule == RANDOM) {
        short* chosen = &worker->ready[(worker->ready_head + worker->random(worker->ready_count)) % MAX_THREADS];
        short fiber = *chosen;
        *chosen = *head;
        *head = fiber;
    }
    worker->ready_head = (worker->ready_head + 1) % MAX_THREADS;
    worker->ready_count--;
    return *head;
}

// The current fiber waits (or ends): go on with a thread that is ready, else with one not yet started, else leave.
static void run_another(Worker* worker, bool ending) {
    bool unstarted = worker->started < worker->threads;
    int to = -1;
    if (worker->launch->failed.load(std::memory_order_relaxed)) {
        to = -1;
    } else if (worker->ready_count &&
               !(unstarted && worker->launch->schedule == RANDOM && worker->random(2))) {
        to = take_ready(worker);
    } else if (unstarted) {
        to = worker->unused_count ? worker->unused[--worker->unused_count] : worker->fiber_count++;
        prepare_stack(worker, to);
    }
    if (to != worker->fiber || ending) switch_to(worker, to, ending);
}

// The body of every fiber.
static void run_threads() {
    Worker* worker = current_worker();
#ifdef GPUNET_ASAN
    const void* bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (!worker->loop_stack_bottom) {
        worker->loop_stack_bottom = bottom;
        worker->loop_stack_size = size;
    }
#endif
    worker->thread_of[worker->fiber] = -1;
    worker->launch->kernel->run(worker->launch->arguments);
    worker->unused[worker->unused_count++] = worker->fiber;
    run_another(worker, true);
    __builtin_trap();
}

void fail(Worker* worker, const char* format, ...) {
    Launch* launch = worker->launch;
    if (!launch->failed.exchange(true)) {
        va_list values;
        va_start(values, format);
        vsnprintf(launch->message, sizeof launch->message, format, values);
        va_end(values);
    }
    if (worker->fiber >= 0) switch_to(worker, -1, false);
}

// ---------------------------------------------------------------- barriers and warp collectives

// Runs the collective and wakes its lanes once all those that have not returned are there.
static void complete_group(Worker* worker, Warp* warp, int number) {
    Group* group = &warp->groups[number];
    unsigned lanes = group->mask & warp->live;
    if (!lanes || group->arrived != lanes) return;
    int warp_number = (int)(warp - worker->warps);
    if (group->operation)
        group->operation(lanes, warp->posts);
    else
        race_sync_lanes(warp_number, lanes);
    if (lanes == warp->live) banks_lanes_meet(warp_number, warp_number);
    *group = warp->groups[--warp->group_count];
    bool reverse = worker->launch->schedule == REVERSE;
    for (int i = 0; i < 32; i++) {
        int lane = reverse ? 31 - i : i;
        if (lanes >> lane & 1) make_ready(worker, warp->fibers[lane]);
    }
}

// Opens the barrier once all threads that have not returned are there.
static void complete_barrier(Worker* worker) {
    if (!worker->waiting_count || worker->waiting_count != worker->live) return;
    if (CHECK_RACES && worker->live < worker->threads) {
        int returned = 0;
        while (worker->warps[returned / 32].live >> returned % 32 & 1) returned++;
        fail(worker,
             "divergent barrier in " BLOCK_FORMAT ": %d of %d threads reach a __syncthreads, the others have returned "
             "(e.g. thread %d in warp %d)",
             BLOCK_VALUES(worker->launch, worker->block), worker->live, worker->threads, returned, returned / 32);
        return;
    }
    banks_lanes_meet(0, (worker->threads - 1) / 32);
    worker->predicate_result = worker->predicate_sum;
    for (int i = 0; i < worker->waiting_count; i++) make_ready(worker, worker->waiting[i]);
    worker->waiting_count = worker->predicate_sum = 0;
    worker->barrier_epoch++;
}

static void end_thread(Worker* worker, int thread) {
    Warp* warp = &worker->warps[thread / 32];
    worker->live--;
    warp->live &= ~(1u << thread % 32);
    for (int number = warp->group_count; number-- > 0;) complete_group(worker, warp, number);
    complete_barrier(worker);
}

int gpunet_next_thread() {
    Worker* worker = current_worker();
    short* thread = &worker->thread_of[worker->fiber];
    if (*thread >= 0) {
        end_thread(worker, *thread);
        *thread = -1;
    }
    if (worker->started >= worker->threads || worker->launch->failed.load(std::memory_order_relaxed)) return 0;
    *thread = worker->order[worker->started++];
    set_thread(worker, *thread);
    return 1;
}

int gpunet_barrier(int predicate) {
    Worker* worker = current_worker();
    worker->waiting[worker->waiting_count++] = worker->fiber;
    worker->predicate_sum += predicate;
    complete_barrier(worker);
    run_another(worker, false);
    return worker->predicate_result;
}

void gpunet_collective(unsigned mask, GpunetOperation operation, void* post) {
    Worker* worker = current_worker();
    int thread = worker->thread_of[worker->fiber], lane = thread % 32;
    Warp* warp = &worker->warps[thread / 32];
    if (!(mask >> lane & 1))
        fail(worker, "thread %d (warp %d, lane %d) in " BLOCK_FORMAT " calls a warp collective with mask 0x%08x, which "
             "lacks its own lane", thread, thread / 32, lane, BLOCK_VALUES(worker->launch, worker->block), mask);
    warp->posts[lane] = post;
    warp->fibers[lane] = worker->fiber;
    int number = 0;
    while (number < warp->group_count && warp->groups[number].mask != mask) number++;
    if (number == warp->group_count)
        warp->groups[warp->group_count++] = {mask, 0, operation};
    else if (warp->groups[number].operation != operation)
        fail(worker, "lanes of warp %d in " BLOCK_FORMAT " wait at different warp collectives with one mask 0x%08x "
             "(e.g. thread %d)", thread / 32, BLOCK_VALUES(worker->launch, worker->block), mask, thread);
    warp->groups[number].arrived |= 1u << lane;
    complete_group(worker, warp, number);
    run_another(worker, false);
}

unsigned gpunet_live_lanes() {
    Worker* worker = current_worker();
    return worker->warps[worker->current_thread() / 32].live;
}

int gpunet_is_shared(const void* address) {
    Worker* worker = current_worker();
    return !worker->launch->kernel->library->anchor || worker->is_shared(address);
}

void gpunet_fence() { current_worker()->fenced = true; }

void gpunet_trap(const char* message) {
    Worker* worker = current_worker();
    int thread = worker->current_thread();
    fail(worker, "%s by thread %d (warp %d) in " BLOCK_FORMAT, message, thread, thread / 32,
         BLOCK_VALUES(worker->launch, worker->block));
    abort();
}

static void report_deadlock(Worker* worker) {
    char at_barrier[160] = "", at_collective[160] = "";
    if (worker->waiting_count)
        snprintf(at_barrier, sizeof at_barrier, "%d of %d live threads wait at __syncthreads (e.g. thread %d)",
                 worker->waiting_count, worker->live, worker->thread_of[worker->waiting[0]]);
    for (int number = 0; number * 32 < worker->threads; number++) {
        Warp* warp = &worker->warps[number];
        if (!warp->group_count) continue;
        Group* group = &warp->groups[0];
        snprintf(at_collective, sizeof at_collective,
                 "warp %d waits at a warp collective with mask 0x%08x, where only lanes 0x%08x have arrived", number,
                 group->mask, group->arrived);
        break;
    }
    fail(worker, "deadlock in " BLOCK_FORMAT ": %s%s%s", BLOCK_VALUES(worker->launch, worker->block), at_barrier,
         *at_barrier && *at_collective ? ", " : "", at_collective);
}

// ---------------------------------------------------------------- blocks

static int locate_shared(dl_phdr_info* info, size_t, void* data) {
    GpunetLibrary* library = (GpunetLibrary*)data;
    char *begin = (char*)info->dlpi_tls_data, *anchor = library->anchor();
    if (!begin) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        int64_t size = info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type != PT_TLS || anchor < begin || anchor >= begin + size) continue;
        library->shared_offset = anchor - begin;
        library->shared_size = size;
        return 1;
    }
    return 0;
}

static bool prepare_worker(Worker* worker, Launch* launch) {
    worker->launch = launch;
    worker->threads = launch->block.x * launch->block.y * launch->block.z;
    worker->fiber = -1;
    if (!worker->stacks.begin) {
        size_t size = STACK_STRIDE * MAX_THREADS;
        void* memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return false;
        worker->stacks = {(char*)memory, size};
    }
    worker->dynamic_shared = {nullptr, launch->dynamic_size};
    if (launch->dynamic_size) {  // its exact size, so that AddressSanitizer sees the end
        void* memory;
        if (posix_memalign(&memory, 128, launch->dynamic_size)) return false;
        worker->dynamic_shared.begin = (char*)memory;
    }
    GpunetLibrary* library = launch->kernel->library;
    worker->static_shared = {nullptr, 0};
    if (library->anchor) worker->static_shared = {library->anchor() - library->shared_offset, (size_t)library->shared_size};
    for (int thread = 0; thread < worker->threads; thread++) {
        unsigned row = thread / launch->block.x;
        worker->index[thread] = {thread % launch->block.x, row % launch->block.y, row / launch->block.y};
        worker->order[thread] = launch->schedule == REVERSE ? worker->threads - 1 - thread : thread;
    }
    gpunet_thread.worker = worker;
    gpunet_thread.dynamic_shared = worker->dynamic_shared.begin;
    gpunet_thread.block_size = launch->block;
    gpunet_thread.grid_size = launch->grid;
    return true;
}

// The order depends on seed and block alone, so that any number of workers runs the same one.
static void shuffle_threads(Worker* worker) {
    worker->random_state = (worker->launch->seed * 0x9e3779b97f4a7c15ull) ^ (worker->block * 0xd1b54a32d192ed03ull);
    worker->random(2);
    for (int last = 0; last < worker->threads; last++) {
        int other = worker->random(last + 1);
        worker->order[last] = worker->order[other];
        worker->order[other] = last;
    }
}

// The block to run as number i of the launch.
static int64_t scheduled_block(const Launch* launch, int64_t i) {
    if (launch->schedule == FORWARD) return i;
    if (launch->schedule == REVERSE) return launch->blocks - 1 - i;
    return (int64_t)((i * (unsigned __int128)launch->block_stride + launch->seed) % launch->blocks);
}

static void run_block(Worker* worker, int64_t block) {
    Launch* launch = worker->launch;
    worker->block = block;
    gpunet_thread.block_index = {(unsigned)(block % launch->grid.x), (unsigned)(block / launch->grid.x % launch->grid.y),
                                 (unsigned)(block / ((int64_t)launch->grid.x * launch->grid.y))};
    if (launch->schedule == RANDOM) shuffle_threads(worker);
    // NaN and -1: a read of what no thread of this block has written shall show.
    if (worker->dynamic_shared.size) memset(worker->dynamic_shared.begin, 0xff, worker->dynamic_shared.size);
    if (worker->static_shared.size) memset(worker->static_shared.begin, 0xff, worker->static_shared.size);
    worker->started = 0;
    worker->live = worker->threads;
    worker->fiber = -1;
    worker->fiber_count = worker->unused_count = worker->ready_head = worker->ready_count = 0;
    worker->waiting_count = worker->predicate_sum = worker->barrier_epoch = 0;
    worker->fenced = false;
    for (int number = 0; number * 32 < worker->threads; number++) {
        int lanes = worker->threads - number * 32;
        worker->warps[number].live = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        worker->warps[number].group_count = 0;
    }
    race_begin_block(worker);
    copies_begin_block();
    run_another(worker, false);
    if (worker->live && !launch->failed) report_deadlock(worker);
    banks_lanes_meet(0, (worker->threads - 1) / 32);
}

static void offer_to_helpers(Launch* launch, int helpers);

static int64_t nanoseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

// Less work than this, and waking a helper costs more than it brings.
const int64_t NANOSECONDS_WORTH_SHARING = 50000;

// Runs blocks until none is left. Helpers are called in once the blocks so far tell that it is worth while.
static void run_blocks(Worker* worker, Launch* launch, int helpers) {
    if (!prepare_worker(worker, launch)) {
        fail(worker, "no memory for the stacks or the shared memory of a block");
        return;
    }
    int64_t begin = helpers ? nanoseconds() : 0, done = 0;
    for (int64_t i; (i = launch->next_block++) < launch->blocks && !launch->failed;) {
        run_block(worker, scheduled_block(launch, i));
        if (!helpers) continue;
        done++;
        if ((nanoseconds() - begin) / done * (launch->blocks - done) < NANOSECONDS_WORTH_SHARING) continue;
        offer_to_helpers(launch, helpers);
        helpers = 0;
    }
    free(worker->dynamic_shared.begin);
}

// ---------------------------------------------------------------- OS threads

// Helpers sleep between launches. Nothing here is ever destroyed: they may still sleep when the process ends.
struct Pool {
    pthread_mutex_t launching = PTHREAD_MUTEX_INITIALIZER;  // held by a launch from begin to end
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;      // of what follows
    pthread_cond_t offered = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
    Launch* launch = nullptr;  // that wants helpers
    int wanted = 0, busy = 0, helpers = 0;
    Worker* workers[256] = {};

    Worker* worker(int number) {
        if (!workers[number]) workers[number] = (Worker*)calloc(1, sizeof(Worker));
        return workers[number];
    }
};
static Pool* pool = new Pool;

// The helpers of a process do not live on in its fork.
static void forget_helpers() { pool = new Pool; }
__attribute__((constructor)) static void watch_forks() { pthread_atfork(nullptr, nullptr, forget_helpers); }

static void* help(void* number) {
    Pool* p = pool;
    pthread_mutex_lock(&p->mutex);
    Worker* worker = p->worker((int)(intptr_t)number);
    for (;;) {
        while (!p->launch || !p->wanted) pthread_cond_wait(&p->offered, &p->mutex);
        Launch* launch = p->launch;
        p->wanted--;
        p->busy++;
        pthread_mutex_unlock(&p->mutex);
        run_blocks(worker, launch, 0);
        pthread_mutex_lock(&p->mutex);
        if (!--p->busy) pthread_cond_signal(&p->finished);
    }
}

static void offer_to_helpers(Launch* launch, int helpers) {
    pthread_mutex_lock(&pool->mutex);
    while (pool->helpers < helpers) {
        pthread_t thread;
        if (pthread_create(&thread, nullptr, help, (void*)(intptr_t)(pool->helpers + 1))) break;
        pthread_detach(thread);
        pool->helpers++;
    }
    pool->launch = launch;
    pool->wanted = helpers;
    pthread_cond_broadcast(&pool->offered);
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_helpers() {
    pthread_mutex_lock(&pool->mutex);
    pool->launch = nullptr;  // a helper that wakes only now goes back to sleep
    while (pool->busy) pthread_cond_wait(&pool->finished, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

// A step through the blocks that meets each of them once.
static int64_t coprime_stride(int64_t blocks, unsigned seed) {
    for (int64_t stride = blocks * 5 / 8 + seed % 7 + 1;; stride++) {
        int64_t a = stride, b = blocks;
        while (b) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) return stride;
    }
}

// Runs a kernel; nullptr, or what went wrong.
extern "C" const char* gpunet_launch(const GpunetKernel* kernel, const char* arguments, size_t argument_size,
                                     unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                     unsigned block_y, unsigned block_z, size_t dynamic_size, int schedule,
                                     unsigned seed, int workers) {
    static __thread char message[sizeof Launch::message];
    alignas(64) char aligned_arguments[4096];
    memcpy(aligned_arguments, arguments, argument_size);
    Launch launch;
    launch.kernel = kernel;
    launch.arguments = aligned_arguments;
    launch.grid = {grid_x, grid_y, grid_z};
    launch.block = {block_x, block_y, block_z};
    launch.dynamic_size = dynamic_size;
    launch.schedule = schedule;
    launch.seed = seed;
    launch.blocks = (int64_t)grid_x * grid_y * grid_z;
    launch.block_stride = schedule == RANDOM ? coprime_stride(launch.blocks, seed) : 1;
    pthread_mutex_lock(&pool->launching);
    GpunetLibrary* library = kernel->library;
    if (library->anchor && library->shared_size < 0) dl_iterate_phdr(locate_shared, library);
    banks_begin_launch();
    run_blocks(pool->worker(0), &launch, (int)(workers < launch.blocks ? workers : launch.blocks) - 1);
    wait_for_helpers();
    race_end_launch();
    pthread_mutex_unlock(&pool->launching);
    if (!launch.failed) return nullptr;
    memcpy(message, launch.message, sizeof message);
    return message;
}
