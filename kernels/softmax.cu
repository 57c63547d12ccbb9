// Softmax and its logarithm along one axis. The largest element is taken off first, so exp never overflows. Rows whose
// elements are neighbours in memory are made by lanes of a warp, each with up to 4 vectors of 16 bytes, or else by a
// block of 256 to 1024 threads; of other rows a thread makes one and a block 256, so that neighbouring threads read
// neighbours.
// Bound: memory, while the rows at work fit the caches.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "rows.cuh"

// y = exp(x - max) / sum(exp(x - max)) of each row.
// Traffic: reads x twice, from the caches the second time, and writes y.
extern "C" __global__ void __launch_bounds__(THREADS, 1) softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const auto& row) {
        Exponentials all = row.exponentials(x);
        ACC scale = 1 / all.sum;
        row.make(y, [=](unsigned, ACC x) { return exp(x - all.largest) * scale; }, x);
    });
}

// gx = y * (gy - sum(gy * y)) of each row, from the output.
// Traffic: reads gy and y twice, from the caches the second time, and writes gx.
extern "C" __global__ void __launch_bounds__(THREADS, 1) softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const auto& row) {
        ACC dot = row.sum([](unsigned, ACC gy, ACC y) { return gy * y; }, gy, y);
        row.make(gx, [=](unsigned, ACC gy, ACC y) { return y * (gy - dot); }, gy, y);
    });
}

// y = x - max - log(sum(exp(x - max))) of each row.
// Traffic: reads x twice, from the caches the second time, and writes y.
extern "C" __global__ void __launch_bounds__(THREADS, 1) log_softmax_forward(REAL* y, const REAL* x, Rows rows) {
    each_row(rows, [=](const auto& row) {
        Exponentials all = row.exponentials(x);
        ACC log_sum = log(all.sum);
        row.make(y, [=](unsigned, ACC x) { return (x - all.largest) - log_sum; }, x);
    });
}

// gx = gy - exp(y) * sum(gy) of each row, from the output.
// Traffic: reads gy twice, from the caches the second time, and y once; writes gx.
extern "C" __global__ void __launch_bounds__(THREADS, 1) log_softmax_backward(
    REAL* gx, const REAL* gy, const REAL* y, Rows rows) {
    each_row(rows, [=](const auto& row) {
        ACC sum = row.sum([](unsigned, ACC gy) { return gy; }, gy);
        row.make(gx, [=](unsigned, ACC gy, ACC y) { return gy - exp(y) * sum; }, gy, y);
    });
}
