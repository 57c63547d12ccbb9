// Batch norm over channels-last memory, seen as a matrix: a row for each pixel of each image, a column for each
// channel. Blocks of 32 x 8 threads reduce 32 columns: the 8 threads of a column share its rows, and the rows of a long
// column are cut into splits (blockIdx.y) whose results are merged by a second launch. All orders are fixed.
#ifndef REAL
#error "define REAL"
#endif
#ifndef PARAM
#error "define PARAM"
#endif
#include "common.cuh"

#define COLUMNS 32
#define ROWS 8

// Number, mean and sum of squared deviations from the mean of some values. No sum of squares is ever formed, which
// would lose the variance of values that lie far from zero.
struct Moments {
    ACC count, mean, squares;
};

// Chan, Golub and LeVeque 1979.
__device__ __forceinline__ Moments merge(const Moments& a, const Moments& b) {
    if (b.count == 0) return a;
    ACC count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

struct Sums {
    ACC gradient, product;  // of gy, and of gy times the normalised x
};

__device__ __forceinline__ Sums merge(const Sums& a, const Sums& b) {
    return {a.gradient + b.gradient, a.product + b.product};
}

// Merges what the threads of a column hold, in order of the rows; only the thread of row 0 gets the result.
template <class T>
__device__ __forceinline__ T merge_column(T own) {
    __shared__ T held[ROWS][COLUMNS];
    held[threadIdx.y][threadIdx.x] = own;
    __syncthreads();  // all rows have written before row 0 reads
    for (int row = 1; row < ROWS; ++row) own = merge(own, held[row][threadIdx.x]);
    return own;
}

// A block makes the moments of 32 channels in one split, by Welford's updates (1962); out[split][channel]. They are
// those of the distance to the channel's first value: differences of close values are exact, so a mean far from zero
// costs the variance nothing. The first thread counts the batch unless the error word is set; the next launch reads it.
extern "C" __global__ void __launch_bounds__(256) batch_norm_moments(
    ACC* mean, ACC* squares, long long* batches_or_null, const REAL* x, unsigned rows, unsigned channels,
    unsigned per_split, const int* error) {
    unsigned channel = blockIdx.x * COLUMNS + threadIdx.x;
    unsigned start = blockIdx.y * per_split, count = min(per_split, rows - start);
    Moments own = {0, 0, 0};
    for (unsigned row = threadIdx.y; channel < channels && row < count; row += ROWS) {
        ACC value = x[(long long)(start + row) * channels + channel] - x[channel], delta = value - own.mean;
        own.count += 1;
        own.mean += delta / own.count;
        own.squares += delta * (value - own.mean);
    }
    own = merge_column(own);
    if (threadIdx.y == 0 && channel < channels) {
        mean[(long long)blockIdx.y * channels + channel] = own.mean;
        squares[(long long)blockIdx.y * channels + channel] = own.squares;
    }
    bool first = blockIdx.x + blockIdx.y + threadIdx.x + threadIdx.y == 0;
    if (first && batches_or_null && !*error) *batches_or_null += 1;
}

// A block merges the splits of 32 channels into mean and 1/sqrt(biased variance + eps), and updates the running
// statistics (with the unbiased variance) unless the error word is set or the batch is empty. With `batches`, these
// become averages over all batches.
extern "C" __global__ void __launch_bounds__(256) batch_norm_statistics(
    ACC* mean, ACC* inv_std, PARAM* running_mean_or_null, PARAM* running_var_or_null, const ACC* means,
    const ACC* squares, const REAL* x, const long long* batches_or_null, unsigned rows, unsigned channels,
    unsigned per_split, unsigned splits, ACC momentum, ACC eps, const int* error) {
    unsigned channel = blockIdx.x * COLUMNS + threadIdx.x;
    Moments own = {0, 0, 0};
    for (unsigned split = threadIdx.y; channel < channels && split < splits; split += ROWS) {
        long long at = (long long)split * channels + channel;
        own = merge(own, {(ACC)min(per_split, rows - split * per_split), means[at], squares[at]});
    }
    own = merge_column(own);
    if (threadIdx.y || channel >= channels) return;
    if (rows) own.mean += x[channel];
    mean[channel] = own.mean;
    inv_std[channel] = 1 / sqrt(own.squares / max(rows, 1u) + eps);
    if (running_mean_or_null == nullptr || rows == 0 || *error) return;
    ACC share = batches_or_null ? 1 / (ACC)*batches_or_null : momentum;
    running_mean_or_null[channel] = (1 - share) * running_mean_or_null[channel] + share * own.mean;
    running_var_or_null[channel] = (1 - share) * running_var_or_null[channel] + share * own.squares / (own.count - 1);
}

// One thread turns the running statistics of one channel into what normalises.
extern "C" __global__ void __launch_bounds__(256) batch_norm_running(
    ACC* mean, ACC* inv_std, const PARAM* running_mean, const PARAM* running_var, unsigned channels, ACC eps) {
    unsigned channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    mean[channel] = running_mean[channel];
    inv_std[channel] = 1 / sqrt(running_var[channel] + eps);
}

// One thread normalises, scales and shifts one element.
extern "C" __global__ void __launch_bounds__(256) batch_norm_forward(
    REAL* y, const REAL* x, const ACC* mean, const ACC* inv_std, const PARAM* weight_or_null,
    const PARAM* bias_or_null, long long count, unsigned channels) {
    long long i = global_thread();
    if (i >= count) return;
    unsigned channel = i % channels;
    ACC value = (x[i] - mean[channel]) * inv_std[channel];
    if (weight_or_null) value *= weight_or_null[channel];
    if (bias_or_null) value += bias_or_null[channel];
    y[i] = value;
}

// A block makes the sums of 32 channels in one split; out[split][channel].
extern "C" __global__ void __launch_bounds__(256) batch_norm_sums(
    ACC* gradients, ACC* products, const REAL* gy, const REAL* x, const ACC* mean, const ACC* inv_std, unsigned rows,
    unsigned channels, unsigned per_split) {
    unsigned channel = blockIdx.x * COLUMNS + threadIdx.x;
    unsigned start = blockIdx.y * per_split, count = min(per_split, rows - start);
    Sums own = {0, 0};
    for (unsigned row = threadIdx.y; channel < channels && row < count; row += ROWS) {
        long long at = (long long)(start + row) * channels + channel;
        ACC gradient = gy[at];
        own = merge(own, {gradient, gradient * ((x[at] - mean[channel]) * inv_std[channel])});
    }
    own = merge_column(own);
    if (threadIdx.y || channel >= channels) return;
    gradients[(long long)blockIdx.y * channels + channel] = own.gradient;
    products[(long long)blockIdx.y * channels + channel] = own.product;
}

// A block adds the splits of 32 channels; the sums are the gradients of bias and weight.
extern "C" __global__ void __launch_bounds__(256) batch_norm_totals(
    ACC* gradient, ACC* product, PARAM* gw_or_null, PARAM* gb_or_null, const ACC* gradients, const ACC* products,
    unsigned channels, unsigned splits) {
    unsigned channel = blockIdx.x * COLUMNS + threadIdx.x;
    Sums own = {0, 0};
    for (unsigned split = threadIdx.y; channel < channels && split < splits; split += ROWS) {
        long long at = (long long)split * channels + channel;
        own = merge(own, {gradients[at], products[at]});
    }
    own = merge_column(own);
    if (threadIdx.y || channel >= channels) return;
    gradient[channel] = own.gradient;
    product[channel] = own.product;
    if (gw_or_null) gw_or_null[channel] = own.product;
    if (gb_or_null) gb_or_null[channel] = own.gradient;
}

// One thread makes the gradient of one element. With sums (in training) it also takes the way through the statistics.
extern "C" __global__ void __launch_bounds__(256) batch_norm_backward(
    REAL* gx, const REAL* gy, const REAL* x, const ACC* mean, const ACC* inv_std, const PARAM* weight_or_null,
    const ACC* gradient_or_null, const ACC* product_or_null, long long count, unsigned rows, unsigned channels) {
    long long i = global_thread();
    if (i >= count) return;
    unsigned channel = i % channels;
    ACC value = gy[i];
    if (gradient_or_null) {
        ACC normalised = (x[i] - mean[channel]) * inv_std[channel];
        value -= (gradient_or_null[channel] + normalised * product_or_null[channel]) / rows;
    }
    value *= inv_std[channel];
    if (weight_or_null) value *= weight_or_null[channel];
    gx[i] = value;
}
