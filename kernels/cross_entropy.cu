// Cross entropy with class indices or class probabilities; log-softmax and its gradient are fused with it. Logits and
// probabilities are dense in one layout; what has one value per row lies in the order of the rows. A warp makes a row
// whose logits are neighbours in memory, and a block 4 at a time; of other rows a thread makes one and a block 128, so
// that neighbouring threads read neighbours.
// Bound: memory, while the rows at work fit the caches.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "warp.cuh"
#include "rows.cuh"

#define THREADS 128

// Either a class index or a probability per class. `smoothing` of each row is shared evenly by all classes.
struct Target {
    const long long* index_or_null;
    const REAL *probability_or_null, *weight_or_null;
    long long ignore_index;
    ACC smoothing;

    // Whether a row is counted: not if its class is ignored, or does not exist.
    __device__ __forceinline__ bool counts(const Row& row) const {
        if (!index_or_null) return true;
        long long wanted = index_or_null[row.number];
        return wanted != ignore_index && exists(row, wanted);
    }

    __device__ __forceinline__ bool exists(const Row& row, long long wanted) const {
        return wanted >= 0 && wanted < row.size;
    }

    __device__ __forceinline__ ACC weight(long long c) const { return weight_or_null ? (ACC)weight_or_null[c] : 1; }

    // How much class c of a row, whose logit lies at offset i, counts: its probability, smoothed and weighted.
    __device__ __forceinline__ ACC share(const Row& row, long long i, unsigned c) const {
        ACC probability = index_or_null ? (ACC)(c == index_or_null[row.number]) : (ACC)probability_or_null[i];
        return (probability * (1 - smoothing) + smoothing / row.size) * weight(c);
    }
};

// A block makes the losses of its rows: each by itself, or their sum beside the sum of their weights, by which a mean
// divides. For the gradient it leaves each row's largest logit, and log(sum(exp(x - largest))). An index that does not
// exist writes `code` to the error word.
// Traffic: reads the logits twice, and those with a share in the loss once more, from the caches after the first time;
// reads the targets once, and writes two or three values per row.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_forward(
    REAL* each_or_null, ACC* losses_or_null, ACC* weights_or_null, ACC* largest, ACC* log_sum, const REAL* x,
    const long long* index_or_null, const REAL* probability_or_null, const REAL* weight_or_null, Rows rows,
    long long ignore_index, ACC smoothing, int* error, int code) {
    Target target{index_or_null, probability_or_null, weight_or_null, ignore_index, smoothing};
    ACC sums[2] = {0, 0};
    each_row(rows, [&](const Row& row) {
        ACC most = row.largest([=](long long i, unsigned) -> ACC { return x[i]; });
        ACC log_total = log(row.sum([=](long long i, unsigned) { return exp(x[i] - most); }));
        bool counts = target.counts(row);
        ACC loss = 0;
        if (counts) {
            loss = row.sum([&](long long i, unsigned c) {
                ACC share = target.share(row, i, c);
                return share == 0 ? 0 : share * ((most - x[i]) + log_total);
            });
        }
        if (row.lane != 0) return;
        largest[row.number] = most;
        log_sum[row.number] = log_total;
        if (each_or_null) each_or_null[row.number] = loss;
        sums[0] += loss;
        if (!index_or_null) {
            sums[1] += 1;
        } else if (counts) {
            sums[1] += target.weight(index_or_null[row.number]);
        } else if (index_or_null[row.number] != ignore_index) {
            atomicCAS(error, 0, code);
        }
    });
    if (each_or_null) return;
    block_sum<THREADS>(sums);
    if (threadIdx.x == 0) {
        losses_or_null[blockIdx.x] = sums[0];
        weights_or_null[blockIdx.x] = sums[1];
    }
}

// One block adds up what the blocks before left, and divides by `total`: the sum of the weights for a mean, else 1.
// Bound: latency, of one block.
// Traffic: reads two sums per block of the launch before.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_reduce(
    REAL* loss, ACC* total, const ACC* losses, const ACC* weights, int count, int mean) {
    ACC sums[2] = {0, 0};
    for (int i = threadIdx.x; i < count; i += THREADS) {
        sums[0] += losses[i];
        sums[1] += weights[i];
    }
    block_sum<THREADS>(sums);
    if (threadIdx.x == 0) {
        total[0] = mean ? sums[1] : 1;
        loss[0] = mean ? sums[0] / sums[1] : sums[0];
    }
}

// gx = (softmax(x) * sum(shares) - share) * gy / total; gy has one element (stride 0), or one a row.
// Traffic: reads the logits once, probabilities twice, from the caches the second time, and writes gx.
extern "C" __global__ void __launch_bounds__(128) cross_entropy_backward(
    REAL* gx, const REAL* gy, const REAL* x, const long long* index_or_null, const REAL* probability_or_null,
    const REAL* weight_or_null, const ACC* largest, const ACC* log_sum, const ACC* total, Rows rows,
    long long ignore_index, ACC smoothing, int gy_stride) {
    Target target{index_or_null, probability_or_null, weight_or_null, ignore_index, smoothing};
    each_row(rows, [&](const Row& row) {
        if (!target.counts(row)) {
            row.each([=](long long i, unsigned) { gx[i] = 0; });
            return;
        }
        ACC most = largest[row.number], log_total = log_sum[row.number];
        ACC factor = gy[(long long)row.number * gy_stride] / total[0];
        ACC shares = row.sum([&](long long i, unsigned c) { return target.share(row, i, c); });
        row.each([&](long long i, unsigned c) {
            gx[i] = (exp((x[i] - most) - log_total) * shares - target.share(row, i, c)) * factor;
        });
    });
}
