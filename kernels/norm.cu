// Batch norm over channels-last memory, seen as a matrix: a row for each pixel of each image, a column for each
// channel. A thread owns the channels of one vector and walks rows; a block's threads are blockDim.x neighbours, which
// read neighbouring vectors, times blockDim.y rows. What the rows of a block made is merged in a tree, what its splits
// (blockIdx.y) made by a second launch: all orders are fixed. A warp reads the vectors of 32 threads: of one row where
// channels are many, else of several rows that follow each other.
// Bound: memory.
#ifndef REAL
#error "define REAL"
#endif
#ifndef PARAM
#error "define PARAM"
#endif
#include "common.cuh"
#include "vector.cuh"
#include "elementwise.cuh"
#include "channels.cuh"

#define THREADS 128  // of a block at most

// Number, mean and sum of squared deviations from the mean of some values. No sum of squares is ever formed, which
// would lose the variance of values that lie far from zero.
struct Moments {
    ACC count;
    Values mean, squares;
};

// Chan, Golub and LeVeque 1979.
__device__ __forceinline__ Moments merge(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    Moments both = a;
    both.count += b.count;
    ACC share = b.count / both.count;
#pragma unroll
    for (int k = 0; k < WIDTH; ++k) {
        ACC delta = b.mean.at[k] - a.mean.at[k];
        both.mean.at[k] += delta * share;
        both.squares.at[k] = a.squares.at[k] + b.squares.at[k] + delta * delta * a.count * share;
    }
    return both;
}

struct Sums {
    Values gradient, product;  // of gy, and of gy times the normalised x
};

__device__ __forceinline__ Sums merge(const Sums& a, const Sums& b) {
    auto add = [](ACC a, ACC b) { return a + b; };
    return {transformed<ACC, WIDTH>(add, a.gradient, b.gradient), transformed<ACC, WIDTH>(add, a.product, b.product)};
}

// Merges what the rows of threads hold; only the threads of row 0 get the result.
template <class T>
__device__ __forceinline__ T merge_rows(T own) {
    __shared__ T held[THREADS];
    T* mine = held + threadIdx.y * blockDim.x + threadIdx.x;
    *mine = own;
    for (unsigned rows = blockDim.y / 2; rows > 0; rows /= 2) {
        __syncthreads();  // the other half of the rows has written
        if (threadIdx.y < rows) *mine = own = merge(own, mine[rows * blockDim.x]);
    }
    return own;
}

// A block makes the moments of its channels in one split, by Welford's updates (1962); out[split][channel]. They are
// those of the distance to the channel's first value: differences of close values are exact, so a mean far from zero
// costs the variance nothing. The first thread counts the batch unless the error word is set; the next launch reads it.
// Traffic: reads x once; writes two values per channel and split.
extern "C" __global__ void __launch_bounds__(128, 8) batch_norm_moments(
    ACC* mean, ACC* squares, long long* batches_or_null, const REAL* x, unsigned rows, unsigned channels,
    unsigned per_split, const int* error) {
    Own own(channels, blockIdx.x);
    unsigned start = blockIdx.y * per_split, count = min(per_split, rows - start);
    Values origin;
    if (rows) origin = own.load(x);
    Moments moments = {};
    for (unsigned row = threadIdx.y; row < count; row += blockDim.y) {
        Values values = own.load(x + (long long)(start + row) * channels);
        moments.count += 1;
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            ACC value = values.at[k] - origin.at[k], delta = value - moments.mean.at[k];
            moments.mean.at[k] += delta / moments.count;
            moments.squares.at[k] += delta * (value - moments.mean.at[k]);
        }
    }
    moments = merge_rows(moments);
    if (threadIdx.y == 0) {
        own.store(mean + (long long)blockIdx.y * channels, moments.mean);
        own.store(squares + (long long)blockIdx.y * channels, moments.squares);
    }
    bool first = blockIdx.x + blockIdx.y + threadIdx.x + threadIdx.y == 0;
    if (first && batches_or_null && !*error) *batches_or_null += 1;
}

// A block merges the splits of its channels into mean and 1/sqrt(biased variance + eps), and updates the running
// statistics (with the unbiased variance) unless the error word is set or the batch is empty. With `batches`, these
// become averages over all batches.
// Bound: latency.
// Traffic: reads two values per channel and split; writes two per channel, and the running statistics.
extern "C" __global__ void __launch_bounds__(128) batch_norm_statistics(
    ACC* mean, ACC* inv_std, PARAM* running_mean_or_null, PARAM* running_var_or_null, const ACC* means,
    const ACC* squares, const REAL* x, const long long* batches_or_null, unsigned rows, unsigned channels,
    unsigned per_split, unsigned splits, ACC momentum, ACC eps, const int* error) {
    Own own(channels, blockIdx.x);
    Moments all = {};
    for (unsigned split = threadIdx.y; split < splits; split += blockDim.y) {
        long long at = (long long)split * channels;
        all = merge(all, {(ACC)min(per_split, rows - split * per_split), own.load(means + at), own.load(squares + at)});
    }
    all = merge_rows(all);
    if (threadIdx.y) return;
    if (rows) all.mean = transformed<ACC, WIDTH>([](ACC a, ACC b) { return a + b; }, all.mean, own.load(x));
    own.store(mean, all.mean);
    own.store(inv_std, transformed<ACC, WIDTH>([=](ACC squares) {
        return 1 / sqrt(squares / max(rows, 1u) + eps);
    }, all.squares));
    if (running_mean_or_null == nullptr || rows == 0 || *error) return;
    ACC share = batches_or_null ? 1 / (ACC)*batches_or_null : momentum;
    auto approach = [=](ACC running, ACC batch) { return (1 - share) * running + share * batch; };
    auto unbiased = [=](ACC running, ACC squares) { return (1 - share) * running + share * squares / (all.count - 1); };
    own.store(running_mean_or_null, transformed<ACC, WIDTH>(approach, own.load(running_mean_or_null), all.mean));
    own.store(running_var_or_null, transformed<ACC, WIDTH>(unbiased, own.load(running_var_or_null), all.squares));
}

// One thread turns the running statistics of one channel into what normalises.
// Bound: latency.
// Traffic: reads two values per channel and writes two.
extern "C" __global__ void __launch_bounds__(256) batch_norm_running(
    ACC* mean, ACC* inv_std, const PARAM* running_mean, const PARAM* running_var, unsigned channels, ACC eps) {
    unsigned channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    mean[channel] = running_mean[channel];
    inv_std[channel] = 1 / sqrt(running_var[channel] + eps);
}

// Lets this thread work on rows that lie a grid apart: work(offset of the row).
template <class Work>
__device__ __forceinline__ void each_row(unsigned rows, unsigned channels, Work work) {
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        work(row * channels);
    }
}

// A thread normalises, scales and shifts the channels of its vector, in rows that lie a grid apart.
// Traffic: reads x once, writes y.
extern "C" __global__ void __launch_bounds__(128) batch_norm_forward(
    REAL* y, const REAL* x, const ACC* mean, const ACC* inv_std, const PARAM* weight_or_null,
    const PARAM* bias_or_null, unsigned rows, unsigned channels) {
    Own own(channels, blockIdx.x);
    Values means = own.load(mean), factors = own.load(inv_std), weights, biases;
    if (weight_or_null) weights = own.load(weight_or_null);
    if (bias_or_null) biases = own.load(bias_or_null);
    each_row(rows, channels, [&](long long at) {
        Values values = own.load(x + at);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            values.at[k] = (values.at[k] - means.at[k]) * factors.at[k];
            if (weight_or_null) values.at[k] *= weights.at[k];
            if (bias_or_null) values.at[k] += biases.at[k];
        }
        own.store(y + at, values);
    });
}

// A block makes the sums of its channels in one split; out[split][channel].
// Traffic: reads gy and x once; writes two values per channel and split.
extern "C" __global__ void __launch_bounds__(128) batch_norm_sums(
    ACC* gradients, ACC* products, const REAL* gy, const REAL* x, const ACC* mean, const ACC* inv_std, unsigned rows,
    unsigned channels, unsigned per_split) {
    Own own(channels, blockIdx.x);
    unsigned start = blockIdx.y * per_split, count = min(per_split, rows - start);
    Values means = own.load(mean), factors = own.load(inv_std);
    Sums sums = {};
    for (unsigned row = threadIdx.y; row < count; row += blockDim.y) {
        long long at = (long long)(start + row) * channels;
        Values gradient = own.load(gy + at);
        auto product = [](ACC x, ACC mean, ACC factor, ACC gradient) { return gradient * ((x - mean) * factor); };
        sums = merge(sums, {gradient, transformed<ACC, WIDTH>(product, own.load(x + at), means, factors, gradient)});
    }
    sums = merge_rows(sums);
    if (threadIdx.y) return;
    own.store(gradients + (long long)blockIdx.y * channels, sums.gradient);
    own.store(products + (long long)blockIdx.y * channels, sums.product);
}

// A block adds the splits of its channels; the sums are the gradients of bias and weight.
// Bound: latency.
// Traffic: reads two values per channel and split; writes two per channel, and as many gradients.
extern "C" __global__ void __launch_bounds__(128) batch_norm_totals(
    ACC* gradient, ACC* product, PARAM* gw_or_null, PARAM* gb_or_null, const ACC* gradients, const ACC* products,
    unsigned channels, unsigned splits) {
    Own own(channels, blockIdx.x);
    Sums sums = {};
    for (unsigned split = threadIdx.y; split < splits; split += blockDim.y) {
        long long at = (long long)split * channels;
        sums = merge(sums, {own.load(gradients + at), own.load(products + at)});
    }
    sums = merge_rows(sums);
    if (threadIdx.y) return;
    own.store(gradient, sums.gradient);
    own.store(product, sums.product);
    if (gw_or_null) own.store(gw_or_null, sums.product);
    if (gb_or_null) own.store(gb_or_null, sums.gradient);
}

// The gradient of x. With sums (in training) it also takes the way through the statistics. A thread makes the channels
// of its vector, in rows that lie a grid apart.
// Traffic: reads gy, and in training x, once; writes gx.
extern "C" __global__ void __launch_bounds__(128) batch_norm_backward(
    REAL* gx, const REAL* gy, const REAL* x, const ACC* mean, const ACC* inv_std, const PARAM* weight_or_null,
    const ACC* gradient_or_null, const ACC* product_or_null, unsigned rows, unsigned channels) {
    Own own(channels, blockIdx.x);
    Values factors = own.load(inv_std), means, weights, gradients, products;
    if (weight_or_null) weights = own.load(weight_or_null);
    if (gradient_or_null) {
        means = own.load(mean);
        gradients = own.load(gradient_or_null);
        products = own.load(product_or_null);
    }
    each_row(rows, channels, [&](long long at) {
        Values values = own.load(gy + at), inputs;
        if (gradient_or_null) inputs = own.load(x + at);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            if (gradient_or_null) {
                ACC normalised = (inputs.at[k] - means.at[k]) * factors.at[k];
                values.at[k] -= (gradients.at[k] + normalised * products.at[k]) / rows;
            }
            values.at[k] *= factors.at[k];
            if (weight_or_null) values.at[k] *= weights.at[k];
        }
        own.store(gx + at, values);
    });
}
