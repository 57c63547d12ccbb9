// Cross entropy with class indices or class probabilities; log-softmax and its gradient are fused with it. Logits and
// probabilities are dense in one layout; what has one value per row lies in the order of the rows. Rows whose logits are
// neighbours in memory are made by lanes of a warp, each with up to 4 vectors of 16 bytes, or else by a block of 256 to
// 1024 threads; of other rows a thread makes one and a block 256 at a time, so that neighbouring threads read neighbours.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "warp.cuh"
#include "rows.cuh"

// What a row wants: a class of it by its index, or a probability per class. `smoothing` of each row is shared evenly by
// all classes.
struct Target {
    const long long* index_or_null;
    const REAL* weight_or_null;
    long long ignore_index;
    ACC smoothing;
    unsigned classes;

    __device__ __forceinline__ long long index(unsigned row) const { return index_or_null ? index_or_null[row] : 0; }

    // Whether a row is counted: not if its class is ignored, or does not exist. With probabilities it is: the index is 0
    // then, and the host sees to it that ignore_index is negative.
    __device__ __forceinline__ bool counts(long long wanted) const {
        return wanted != ignore_index && wanted >= 0 && wanted < classes;
    }

    // Whether no other class than the wanted one has a share.
    __device__ __forceinline__ bool is_one_class() const { return index_or_null && smoothing == 0; }

    __device__ __forceinline__ ACC weight(long long c) const { return weight_or_null ? (ACC)weight_or_null[c] : 1; }

    // How much class c counts: its probability, smoothed and weighted.
    __device__ __forceinline__ ACC share(long long wanted, unsigned c, ACC probability) const {
        if (index_or_null) probability = c == wanted;
        return (probability * (1 - smoothing) + smoothing / classes) * weight(c);
    }
};

// A block makes the losses of its rows: each by itself, or their sum beside the sum of their weights, by which a mean
// divides. For the gradient it leaves each row's largest logit, and log(sum(exp(x - largest))). An index that does not
// exist writes `code` to the error word.
// Traffic: reads logits and targets once, with probabilities or smoothing the logits once more, from the caches; writes
// two or three values per row.
extern "C" __global__ void __launch_bounds__(THREADS, 1) cross_entropy_forward(
    REAL* each_or_null, ACC* losses_or_null, ACC* weights_or_null, ACC* largest, ACC* log_sum, const REAL* x,
    const long long* index_or_null, const REAL* probability_or_null, const REAL* weight_or_null, Rows rows,
    long long ignore_index, ACC smoothing, int* error, int code) {
    Target target{index_or_null, weight_or_null, ignore_index, smoothing, rows.size};
    ACC sums[2] = {0, 0};
    each_row(rows, [&](const auto& row) {
        Exponentials all = row.exponentials(x);
        ACC log_total = log(all.sum), loss = 0;
        auto cost = [=](ACC share, ACC x) { return share == 0 ? 0 : share * ((all.largest - x) + log_total); };
        long long wanted = target.index(row.number);
        bool counts = target.counts(wanted);
        if (counts && target.is_one_class()) {
            loss = cost(target.weight(wanted), x[row.offset(wanted)]);
        } else if (counts) {
            loss = row.sum([&](unsigned c, ACC x, ACC probability) {
                return cost(target.share(wanted, c, probability), x);
            }, x, probability_or_null);
        }
        if (row.lane != 0) return;
        largest[row.number] = all.largest;
        log_sum[row.number] = log_total;
        if (each_or_null) each_or_null[row.number] = loss;
        sums[0] += loss;
        if (!index_or_null) {
            sums[1] += 1;
        } else if (counts) {
            sums[1] += target.weight(wanted);
        } else if (wanted != ignore_index) {
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
extern "C" __global__ void __launch_bounds__(256) cross_entropy_reduce(
    REAL* loss, ACC* total, const ACC* losses, const ACC* weights, int count, int mean) {
    ACC sums[2] = {0, 0};
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
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
extern "C" __global__ void __launch_bounds__(THREADS, 1) cross_entropy_backward(
    REAL* gx, const REAL* gy, const REAL* x, const long long* index_or_null, const REAL* probability_or_null,
    const REAL* weight_or_null, const ACC* largest, const ACC* log_sum, const ACC* total, Rows rows,
    long long ignore_index, ACC smoothing, int gy_stride) {
    Target target{index_or_null, weight_or_null, ignore_index, smoothing, rows.size};
    each_row(rows, [&](const auto& row) {
        long long wanted = target.index(row.number);
        if (!target.counts(wanted)) return row.make(gx, [](unsigned) -> ACC { return 0; });
        ACC most = largest[row.number], log_total = log_sum[row.number];
        ACC factor = gy[(long long)row.number * gy_stride] / total[0];
        auto share = [&](unsigned c, ACC probability) { return target.share(wanted, c, probability); };
        ACC shares = target.is_one_class() ? target.weight(wanted) : row.sum(share, probability_or_null);
        row.make(gx, [&](unsigned c, ACC x, ACC probability) {
            return (exp((x - most) - log_total) * shares - share(c, probability)) * factor;
        }, x, probability_or_null);
    });
}
