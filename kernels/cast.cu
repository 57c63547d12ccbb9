// Conversion between floating-point types. A thread converts one vector, of 16 bytes in the wider type, a warp 32
// neighbouring ones, a block of 8 warps 256.
// Bound: memory.
// Traffic: reads the one, writes the other.
#ifndef REAL
#error "define REAL"
#endif
#ifndef TO
#error "define TO"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

// y = x, by way of ACC: a 16-bit type is read and rounded as in every other kernel.
extern "C" __global__ void __launch_bounds__(256) cast(TO* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) { return (TO)x; }, x);
}
