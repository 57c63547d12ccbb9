// Softmax and its logarithm along one axis. The largest element is taken off first, so exp never overflows.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "warp.cuh"
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(128) softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC largest = row.largest([=](long long i, unsigned) -> ACC { return x[i]; });
        ACC sum = row.sum([=](long long i, unsigned) { return exp(x[i] - largest); });
        row.each([=](long long i, unsigned) { y[i] = exp(x[i] - largest) / sum; });
    });
}

extern "C" __global__ void __launch_bounds__(128) softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC dot = row.sum([=](long long i, unsigned) { return gy[i] * y[i]; });
        row.each([=](long long i, unsigned) { gx[i] = y[i] * (gy[i] - dot); });
    });
}

extern "C" __global__ void __launch_bounds__(128) log_softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC largest = row.largest([=](long long i, unsigned) -> ACC { return x[i]; });
        ACC log_sum = log(row.sum([=](long long i, unsigned) { return exp(x[i] - largest); }));
        row.each([=](long long i, unsigned) { y[i] = (x[i] - largest) - log_sum; });
    });
}

extern "C" __global__ void __launch_bounds__(128) log_softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const Row& row) {
        ACC sum = row.sum([=](long long i, unsigned) -> ACC { return gy[i]; });
        row.each([=](long long i, unsigned) { gx[i] = gy[i] - exp((ACC)y[i]) * sum; });
    });
}
