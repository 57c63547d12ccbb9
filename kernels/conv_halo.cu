// Convolution with few channels on tensor cores, stride 1: the input pixels that a tile of outputs sees, its halo
// included, are loaded once, and each tap of the window only shifts where they are read. The weights stay in shared
// memory for the life of a block. conv_tiled.cu reads each input once per tap instead. A tile has Shape::M pixels, in
// rows of 16, and Shape::N outputs; warps and threads share it as in tiles.cuh.
// Bound: arithmetic, at the rate of mma.sync: 2 * pixels * outputs * taps * channels / groups operations.
// Traffic: the input is read 1.4 times (for 3 x 3 and tiles of 8 x 16) per Shape::N outputs, the weights once per
// block, the output is written once.
//
// The patch that 3 x 3 taps of 8 x 16 pixels see, and what a fragment of A reads of it, its 16 rows being 16 pixels
// side by side. Pixels are lines like those of a slice, and any 8 that follow each other lie in all banks, wherever
// they begin.
//
//   row 0   . a a a a a a a a a a a a a a a a .     a: tap (0, 1) of the pixels of row 0, lines 1 to 16
//   row 1   . . . . . . . . . . . . . . . . . .
//   row 2   b b b b b b b b b b b b b b b b . .     b: tap (2, 0) of the same pixels, lines 36 to 51
//   ...
//   row 9   . . . . . . . . . . . . . . . . . .
#ifndef REAL
#error "define REAL"
#endif
#ifndef HALO_TILE
#error "define HALO_TILE"
#endif
#define TILE HALO_TILE  // on tensor cores only
#include "common.cuh"
#include "tiles.cuh"
#include "window.cuh"

#define TILE_COLUMNS 16                        // pixels: a fragment's 16 rows are one row of them
#define TILE_ROWS (Shape::M / TILE_COLUMNS)

// What forward and input gradient differ in: the gradient reads gy, mirrors the window and transposes the weights.
template <bool BACKWARD>
struct Halo {
    using Weights = Slice<Shape::N, !BACKWARD>;  // of one tap, and a slice of the channels
    const Window& g;
    int channels, outputs;  // that are read and made, of this group
    int group, n0;          // this block's first output
    int rows, columns;      // of a patch: the pixels that a tile sees
    int slices;             // of the channels

    __device__ Halo(const Window& g)
        : g(g),
          channels((BACKWARD ? g.outputs : g.channels) / g.groups),
          outputs((BACKWARD ? g.channels : g.outputs) / g.groups),
          group(blockIdx.z),
          n0(blockIdx.y * Shape::N),
          rows(TILE_ROWS + (g.window[1] - 1) * g.dilation[1]),
          columns(TILE_COLUMNS + (g.window[2] - 1) * g.dilation[2]),
          slices((channels + Shape::DEPTH - 1) / Shape::DEPTH) {}

    __device__ const int (&read_size() const)[3] { return BACKWARD ? g.out_size : g.in_size; }
    __device__ const int (&made_size() const)[3] { return BACKWARD ? g.in_size : g.out_size; }
    __device__ int read_channels() const { return BACKWARD ? g.outputs : g.channels; }
    __device__ int made_channels() const { return BACKWARD ? g.channels : g.outputs; }
    __device__ int taps() const { return g.window[1] * g.window[2]; }
    __device__ int weight_bytes() const { return taps() * slices * Weights::BYTES; }
    __device__ int patch_bytes() const { return rows * columns * slices * (Shape::DEPTH / CHUNK * 16); }

    // Where a chunk of channels of a pixel lies in a patch; pixels are lines as those of a Slice along the depth.
    __device__ int patch_offset(int slice, int pixel, int chunk) const {
        using Lines = Slice<Shape::M, true>;
        return slice * rows * columns * Lines::CHUNKS * 16 + Lines::offset(pixel, chunk);
    }

    // How far the place of a tap lies from the corner of the patch.
    __device__ int tap_pixel(int tap) const {
        int row = tap / g.window[2], column = tap % g.window[2];
        if (BACKWARD) row = g.window[1] - 1 - row, column = g.window[2] - 1 - column;
        return row * g.dilation[1] * columns + column * g.dilation[2];
    }

    // The place in the image of the corner of the patch, along an axis on which the tile begins at `first`.
    __device__ int corner(int axis, int first) const {
        int reach = (g.window[axis] - 1) * g.dilation[axis];
        return BACKWARD ? first + g.padding[axis] - reach : first - g.padding[axis];
    }

    __device__ void copy_weights(char* to, const REAL* w) const {
        int per_group = g.outputs / g.groups, depth = g.channels / g.groups;
        for (int tap = 0; tap < taps(); ++tap) {
            for (int slice = 0; slice < slices; ++slice) {
                auto chunk_at = [&](int i, bool& exists) {
                    int line = Weights::own_line(i), along = Weights::own_chunk() * CHUNK;
                    int output = BACKWARD ? slice * Shape::DEPTH + line : n0 + line;
                    int channel = BACKWARD ? n0 + along : slice * Shape::DEPTH + along;
                    exists = output < per_group && channel < depth;
                    return w + ((long long)(group * per_group + output) * taps() + tap) * depth + channel;
                };
                copy_slice<Weights>(to + (tap * slices + slice) * Weights::BYTES, chunk_at);
            }
        }
    }

    __device__ void copy_patch(char* to, const REAL* x, const Pixel& tile) const {
        const int(&size)[3] = read_size();
        const int chunks = Shape::DEPTH / CHUNK;
        for (int e = threadIdx.x; e < slices * rows * columns * chunks; e += Shape::THREADS) {
            int chunk = e % chunks, pixel = e / chunks % (rows * columns), slice = e / chunks / (rows * columns);
            int row = corner(1, tile.at[1]) + pixel / columns, column = corner(2, tile.at[2]) + pixel % columns;
            int channel = slice * Shape::DEPTH + chunk * CHUNK;
            bool inside = (unsigned)row < size[1] && (unsigned)column < size[2] && channel < channels;
            Pixel in = {tile.n, {tile.at[0], row, column}};
            const REAL* from = x + index_of(in, size) * read_channels() + group * channels + channel;
            copy_async(to + patch_offset(slice, pixel, chunk), from, inside);
        }
    }

    // Adds what the taps see of a patch.
    __device__ void multiply(Product::Sums& sums, const char* weights, const char* patch) const {
        int lane = threadIdx.x % WARP;
        for (int slice = 0; slice < slices; ++slice) {
#pragma unroll 1  // a tap is enough work, and addresses take registers
            for (int tap = 0; tap < taps(); ++tap) {
                const char* b = weights + (tap * slices + slice) * Weights::BYTES;
                int corner = tap_pixel(tap);
                Product::multiply_loaded(
                    sums,
                    [&](unsigned(&words)[4], int i, int step) {
                        int pixel = corner + (warp_row() / 16 + i) * columns + lane % 16;
                        load_matrices(words, patch + patch_offset(slice, pixel, step * 2 + lane / 16));
                    },
                    [&](unsigned(&words)[4], int j, int step) { Product::load_b<Weights>(words, b, j, step); });
            }
        }
    }
};

// Each block makes tiles number blockIdx.x, blockIdx.x + gridDim.x, ... of 16 columns of pixels x Shape::N outputs of a
// group; while it multiplies one patch, the next one is on its way. store(sums, halo, tile) writes what came of one,
// whose first pixel is `tile`.
template <bool BACKWARD, class Store>
__device__ __forceinline__ void convolve(const REAL* x, const REAL* w, const Window& g, const Store& store) {
    extern __shared__ __align__(128) char shared[];
    Halo<BACKWARD> halo(g);
    const int(&size)[3] = halo.made_size();
    const int tiles_of[3] = {
        size[0], (size[1] + TILE_ROWS - 1) / TILE_ROWS, (size[2] + TILE_COLUMNS - 1) / TILE_COLUMNS};
    auto tile_at = [&](int number) {
        Pixel tile = pixel_of(number, tiles_of);
        tile.at[1] *= TILE_ROWS, tile.at[2] *= TILE_COLUMNS;
        return tile;
    };
    int tiles = pixels(g.batch, tiles_of);
    char* patches = shared + halo.weight_bytes();
    halo.copy_weights(shared, w);
    halo.copy_patch(patches, x, tile_at(blockIdx.x));
    commit_copies();
    for (int number = blockIdx.x, buffer = 0; number < tiles; number += gridDim.x, buffer ^= 1) {
        if (number + gridDim.x < tiles)
            halo.copy_patch(patches + (buffer ^ 1) * halo.patch_bytes(), x, tile_at(number + gridDim.x));
        commit_copies();
        wait_for_copies<1>();
        __syncthreads();  // weights and patch are complete
        Product::Sums sums = {};
        halo.multiply(sums, shared, patches + buffer * halo.patch_bytes());
        store(sums, halo, tile_at(number));
        __syncthreads();  // everybody has read the patch before its place is taken
    }
}

// Where the outputs of this group begin, or of its bias.
template <class T, bool BACKWARD>
__device__ __forceinline__ T* of_group(T* all_or_null, const Halo<BACKWARD>& halo) {
    return all_or_null ? all_or_null + halo.group * halo.outputs : nullptr;
}

// Writes a tile.
template <bool BACKWARD>
__device__ __forceinline__ void store_tile(
    REAL* y, const REAL* bias, int relu, const Product::Sums& sums, const Halo<BACKWARD>& halo, const Pixel& tile) {
    const int(&size)[3] = halo.made_size();
    auto row = [&](int m) -> REAL* {
        Pixel pixel = {tile.n, {tile.at[0], tile.at[1] + m / TILE_COLUMNS, tile.at[2] + m % TILE_COLUMNS}};
        if (pixel.at[1] >= size[1] || pixel.at[2] >= size[2]) return nullptr;
        return of_group(y, halo) + index_of(pixel, size) * halo.made_channels();
    };
    using Lines = Slice<Shape::M, true>;
    Product::store<Lines, Lines>(sums, halo.n0, halo.outputs, row, {of_group(bias, halo), relu});
}

// Writes the largest of each 2 x 2 pixels of a tile, and which one it is. Two of them lie side by side in lanes that
// are 4 apart, once in the left half of a row of the tile and once in the right one: of such a pair, the lane with
// the even column finishes the window on the left, the other one that on the right.
__device__ __forceinline__ void store_pooled(REAL* y, unsigned char* winner, const REAL* bias, int relu,
                                             const Product::Sums& sums, const Halo<false>& halo, const Pixel& tile) {
    int column = threadIdx.x % WARP / 4, odd = column % 2;
    Epilogue epilogue = {of_group(bias, halo), 0};
    const int size[3] = {halo.g.out_size[0], halo.g.out_size[1] / 2, halo.g.out_size[2] / 2};
#pragma unroll
    for (int i = 0; i < MMA_ROWS; i += 2) {
        Pixel pooled = {tile.n, {tile.at[0], (tile.at[1] + warp_row() / 16 + i) / 2,
                                 (tile.at[2] + odd * 8 + column) / 2}};
        bool exists = pooled.at[1] < size[1] && pooled.at[2] < size[2];
        long long first = index_of(pooled, size) * halo.g.outputs;
#pragma unroll
        for (int j = 0; j < MMA_COLUMNS; ++j) {
            int n = halo.n0 + warp_column() + j * 8 + threadIdx.x % 4 * 2;
            float largest[2];
            unsigned char number[2];
#pragma unroll
            for (int e = 0; e < 2; ++e) {
                float window[4];  // rounded as they would be stored
#pragma unroll
                for (int row = 0; row < 2; ++row) {
                    float left = REAL(epilogue(sums.of[i + row][j][e], n + e, halo.outputs));
                    float right = REAL(epilogue(sums.of[i + row][j][2 + e], n + e, halo.outputs));
                    float other = __shfl_xor_sync(ALL_LANES, odd ? left : right, 4);
                    window[row * 2] = odd ? other : left;
                    window[row * 2 + 1] = odd ? right : other;
                }
                largest[e] = window[0], number[e] = 0;
#pragma unroll
                for (int tap = 1; tap < 4; ++tap) {
                    if (window[tap] > largest[e] || window[tap] != window[tap])
                        largest[e] = window[tap], number[e] = tap;
                }
                if (relu) largest[e] = rectified(largest[e]);
            }
            if (!exists) continue;
            store_pair(of_group(y, halo) + first, n, halo.outputs, largest[0], largest[1]);
            store_pair(of_group(winner, halo) + first, n, halo.outputs, number[0], number[1]);
        }
    }
}

// A block makes tiles of output pixels x output channels of one group, one after the other.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) halo_conv_forward(
    REAL* y, const REAL* x, const REAL* w, const REAL* bias_or_null, int relu, Window g) {
    convolve<false>(x, w, g, [&](const Product::Sums& sums, const Halo<false>& halo, const Pixel& tile) {
        store_tile(y, bias_or_null, relu, sums, halo, tile);
    });
}

// The same, but of each 2 x 2 output pixels only the largest is stored, then clipped by ReLU if that is wanted, and its
// number in the window: the first of equal ones, the last NaN.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) halo_conv_max_pool(
    REAL* y, unsigned char* winner, const REAL* x, const REAL* w, const REAL* bias_or_null, int relu, Window g) {
    convolve<false>(x, w, g, [&](const Product::Sums& sums, const Halo<false>& halo, const Pixel& tile) {
        store_pooled(y, winner, bias_or_null, relu, sums, halo, tile);
    });
}

// A block makes tiles of input pixels x input channels of one group, one after the other. With a bias it is the forward
// of transposed convolution.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, 1) halo_conv_backward_input(
    REAL* gx, const REAL* gy, const REAL* w, const REAL* bias_or_null, Window g) {
    convolve<true>(gy, w, g, [&](const Product::Sums& sums, const Halo<true>& halo, const Pixel& tile) {
        store_tile(gx, bias_or_null, 0, sums, halo, tile);
    });
}
