// Conversion between floating-point types: reads the one, writes the other.
#ifndef REAL
#error "define REAL"
#endif
#ifndef TO
#error "define TO"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"

// By way of ACC: a 16-bit type is read and rounded as in every other kernel.
extern "C" __global__ void __launch_bounds__(256) cast(TO* y, const REAL* x, long long count) {
    each(y, count, [](ACC x) { return (TO)x; }, x);
}
