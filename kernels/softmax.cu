// Softmax and its logarithm along one axis. The largest element is taken off first, so exp never overflows. A warp
// makes a row whose elements are neighbours in memory, and a block 4 of them; of other rows a thread makes one and a
// block 128, so that neighbouring threads read neighbours.
// Bound: memory, while the rows at work fit the caches.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "warp.cuh"
#include "rows.cuh"

// y = exp(x - max) / sum(exp(x - max)) of each row.
// Traffic: reads x three times, from the caches after the first, and writes y.
extern "C" __global__ void __launch_bounds__(128) softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC largest = row.largest([=](long long i, unsigned) -> ACC { return x[i]; });
        ACC sum = row.sum([=](long long i, unsigned) { return exp(x[i] - largest); });
        row.each([=](long long i, unsigned) { y[i] = exp(x[i] - largest) / sum; });
    });
}

// gx = y * (gy - sum(gy * y)) of each row, from the output.
// Traffic: reads gy and y twice, from the caches after the first time, and writes gx.
extern "C" __global__ void __launch_bounds__(128) softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC dot = row.sum([=](long long i, unsigned) { return gy[i] * y[i]; });
        row.each([=](long long i, unsigned) { gx[i] = y[i] * (gy[i] - dot); });
    });
}

// y = x - max - log(sum(exp(x - max))) of each row.
// Traffic: reads x three times, from the caches after the first, and writes y.
extern "C" __global__ void __launch_bounds__(128) log_softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC largest = row.largest([=](long long i, unsigned) -> ACC { return x[i]; });
        ACC log_sum = log(row.sum([=](long long i, unsigned) { return exp(x[i] - largest); }));
        row.each([=](long long i, unsigned) { y[i] = (x[i] - largest) - log_sum; });
    });
}

// gx = gy - exp(y) * sum(gy) of each row, from the output.
// Traffic: reads gy twice, from the caches the second time, and y once; writes gx.
extern "C" __global__ void __launch_bounds__(128) log_softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC sum = row.sum([=](long long i, unsigned) -> ACC { return gy[i]; });
        row.each([=](long long i, unsigned) { gx[i] = gy[i] - exp((ACC)y[i]) * sum; });
    });
}
