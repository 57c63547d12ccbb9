// Max pooling over channels-last memory (N, D, H, W, C), with the winner's position in the window.
// INDEX is as wide as that position needs.
#ifndef REAL
#error "define REAL"
#endif
#ifndef INDEX
#error "define INDEX"
#endif
#include "common.cuh"
#include "window.cuh"

// One thread makes one output. PyTorch's rule: the first maximum wins, and NaN wins over everything.
extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    REAL* y, INDEX* winner, const REAL* x, Window g) {
    long long i = global_thread();
    if (i >= (long long)pixels(g.batch, g.out_size) * g.channels) return;
    int channel = i % g.channels;
    Pixel out = pixel_of(i / g.channels, g.out_size), in;
    ACC best = __int_as_float(0xff800000);  // -infinity, also of a window that lies in the padding as a whole
    int best_tap = -1;
    for (int tap = 0; tap < taps(g); ++tap) {
        if (!input_pixel(g, out, tap, in)) continue;
        ACC value = x[index_of(in, g.in_size) * g.channels + channel];
        if (best_tap < 0 || value > best || value != value) {
            best = value;
            best_tap = tap;
        }
    }
    y[i] = best;
    winner[i] = (INDEX)max(best_tap, 0);
}

// One thread makes one input's gradient: it adds the outputs whose winner it is, in tap order.
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    REAL* gx, const REAL* gy, const INDEX* winner, Window g) {
    long long i = global_thread();
    if (i >= (long long)pixels(g.batch, g.in_size) * g.channels) return;
    int channel = i % g.channels;
    Pixel in = pixel_of(i / g.channels, g.in_size), out;
    ACC sum = 0;
    for (int tap = 0; tap < taps(g); ++tap) {
        if (!output_pixel(g, in, tap, out)) continue;
        long long o = index_of(out, g.out_size) * g.channels + channel;
        if (winner[o] == (INDEX)tap) sum += gy[o];
    }
    gx[i] = sum;
}

// One thread turns one winner into PyTorch's index: its position in the D * H * W volume of the input.
extern "C" __global__ void __launch_bounds__(256) max_pool_indices(
    long long* indices, const INDEX* winner, Window g) {
    long long i = global_thread();
    if (i >= (long long)pixels(g.batch, g.out_size) * g.channels) return;
    Pixel out = pixel_of(i / g.channels, g.out_size), in;
    input_pixel(g, out, winner[i], in);
    in.n = 0;
    indices[i] = index_of(in, g.in_size);
}
