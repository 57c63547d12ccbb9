// Conversion between floating-point types.
#ifndef REAL
#error "define REAL"
#endif
#ifndef TO
#error "define TO"
#endif
#include "common.cuh"

// One thread converts one element, by way of ACC: a 16-bit type is read and rounded as in every other kernel.
extern "C" __global__ void __launch_bounds__(256) cast(TO* y, const REAL* x, long long count) {
    long long i = global_thread();
    if (i < count) y[i] = (TO)(ACC)x[i];
}
