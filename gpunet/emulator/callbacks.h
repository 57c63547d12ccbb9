// The callbacks of code that was compiled with -fsanitize=thread, and of cuda.h where the compiler sees no access. Each
// tells check(address, size, kind, site) of the file that includes this; libtsan is never linked.
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
