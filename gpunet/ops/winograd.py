"""3 x 3 convolution on the CPU by minimal filtering, F(2 x 2, 3 x 3): 16 multiplications for what takes 36.

A tile of 2 x 2 outputs reads 4 x 4 inputs d through the filter f:

    Y = A' [(G f G') * (B' d B)] A          gf = G' [(A gY A') * (B' d B)] G          (' transposes, * is elementwise)

Sums over channels, or over tiles, are one matrix product for each of the 16 places of a tile; so is what B, G and A do,
which costs NumPy less than adding. The gradient of the input is the convolution of gy with flipped filters. Errors are
as large as those of the plain sums; but infinities, and what overflows in a tile, make NaN of all its outputs.

All arrays are C-contiguous, as in im2col.py, but those of a Target.

Source: Winograd 1980; Lavin and Gray 2016.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from gpunet.backend import blas, pool, scratch
from gpunet.ops.conv_blocks import Block, Target, cut, padded
from gpunet.ops.geometry import Geometry

__all__ = ["fits", "forward", "input_gradient", "keeps_images_whole", "pays", "weight_gradient"]

Array = npt.NDArray[Any]


def _both_axes(matrix: list[list[float]]) -> Array:
    """Return what a matrix does along the height and along the width, as one matrix."""
    return np.kron(matrix, matrix)


_INPUTS = _both_axes([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B': 16 inputs to 16 places
_FILTERS = _both_axes([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G: 9 taps to 16 places
_OUTPUTS = _both_axes([[1, 1, 1, 0], [0, 1, -1, -1]])  # A': 16 places to 4 outputs
_CHANNELS = 32  # below these on one side, and twice as many on the other, moving tiles costs more than is saved
_LEAST_TILES = 1024  # below these, the filters' own transform costs more than is saved
_TILES, _BYTES = 256, 1 << 22  # of a block: tiles at least, bytes of their inputs at most
_RUNS, _PARTIAL_BYTES = 8, 1 << 25  # partial weight gradients: how many, and all together


def fits(g: Geometry) -> bool:
    """Say whether this is a plain 3 x 3 convolution over two axes."""
    plain = g.window == (1, 3, 3) and g.stride == g.dilation == (1, 1, 1) and g.groups == 1
    return plain and g.in_size[0] == g.out_size[0] == 1 and max(g.padding) <= 2


def pays(g: Geometry, weights: bool = False) -> bool:
    """Say whether minimal filtering is possible, and faster than im2col: for values, or for weights' gradients."""
    few, many = sorted((g.channels, g.outputs))
    enough = few >= (2 if weights else 1) * _CHANNELS and many >= 2 * _CHANNELS
    return fits(g) and enough and g.out_pixels >= 4 * _LEAST_TILES


def keeps_images_whole(g: Geometry, itemsize: int) -> bool:
    """Say whether `forward` makes whole images, one or more at a time."""
    return all(outputs.pixels[1:] == g.out_size for _, outputs in _blocks(g, itemsize))


def forward(target: Target, x: Array, w: Array, g: Geometry) -> None:
    """Give a target x convolved with w."""
    kernels, blocks = _kernels(w), _blocks(g, x.itemsize)

    def work(task: int) -> None:
        tiles, outputs = blocks[task]
        inputs = _inputs(x, tiles)
        products = scratch.get("columns", (*inputs.shape[:2], g.outputs), x.dtype)  # over what they saw
        blas.single(inputs, kernels, products)
        target.take_tiles(outputs, _add_up(products, tiles))

    blas.parallel(len(blocks), work)


def input_gradient(gx: Array, gy: Array, w: Array, g: Geometry, bias: Array | None = None) -> None:
    """gx = gradient of the input: gy convolved with flipped filters, plus bias."""
    _, height, width = g.padding
    mirrored = replace(
        g,
        channels=g.outputs,
        outputs=g.channels,
        in_size=g.out_size,
        out_size=g.in_size,
        padding=(0, 2 - height, 2 - width),
    )
    forward(Target(gx, bias), gy, w[:, :, ::-1, ::-1].transpose(4, 1, 2, 3, 0), mirrored)


def weight_gradient(gw: Array, gb: Array | None, gy: Array, x: Array, g: Geometry) -> None:
    """gw = gradient of the weight, gb that of the bias: partial sums of runs of blocks, added in order.

    Memory: up to 8 partial gradients of 16/9 of the weight's size, as many as fit 32 MiB but at least four.
    """
    blocks = _blocks(g, x.itemsize)
    runs = min(len(blocks), _RUNS, max(4, _PARTIAL_BYTES // (2 * gw.nbytes)))
    partial_w = pool.allocate((runs, 16, g.outputs, g.channels), gw.dtype)
    partial_b = np.zeros((runs, g.outputs), gw.dtype)

    def work(run: int) -> None:
        first, last = run * len(blocks) // runs, (run + 1) * len(blocks) // runs
        for number in range(first, last):
            (tiles, outputs), total = blocks[number], partial_w[run]
            gradient = gy[outputs.where][:, 0]
            part = total if number == first else scratch.get("part", total.shape, gw.dtype)
            blas.single(_gradients(gradient, tiles).transpose(0, 2, 1), _inputs(x, tiles), part)
            if part is not total:
                total += part
            if gb is not None:
                partial_b[run] += blas.column_sums(gradient.reshape(-1, g.outputs))

    blas.parallel(runs, work)
    places, by_tap = (pool.allocate((rows, g.outputs * g.channels), gw.dtype) for rows in (16, 9))
    np.add.reduce(partial_w.reshape(runs, 16, -1), axis=0, out=places)
    blas.matmul(_FILTERS.T.astype(gw.dtype), places, by_tap)
    gw[:, 0] = by_tap.reshape(3, 3, g.outputs, g.channels).transpose(2, 0, 1, 3)
    if gb is not None:
        np.add.reduce(partial_b, axis=0, out=gb)


@functools.lru_cache(maxsize=128)
def _blocks(g: Geometry, itemsize: int) -> tuple[tuple[Block, Block], ...]:
    """Cut the tiles, which are a convolution with stride 2 and a window of 4 x 4; return tiles and their outputs."""
    size = (g.out_size[0], -(-g.out_size[1] // 2), -(-g.out_size[2] // 2))
    of_tiles = replace(g, out_size=size, window=(1, 4, 4), stride=(1, 2, 2))
    return tuple((tiles, _outputs(tiles, g)) for tiles in cut(of_tiles, 16 * g.channels, itemsize, (_TILES, 0, _BYTES)))


def _outputs(tiles: Block, g: Geometry) -> Block:
    """Return the outputs of a block of tiles."""
    images, depth, *plane = tiles.where
    ends = [slice(2 * part.start, min(2 * part.stop, n)) for part, n in zip(plane, g.out_size[1:], strict=True)]
    where = (images, depth, *ends)
    return replace(tiles, where=where, pixels=tuple(part.stop - part.start for part in where))


def _kernels(w: Array) -> Array:
    """Return G f G' of all filters: (16, C, O)."""
    outputs, channels = w.shape[0], w.shape[4]
    kernels, by_tap = (pool.allocate((rows, channels * outputs), w.dtype) for rows in (16, 9))
    by_tap.reshape(3, 3, channels, outputs)[...] = w[:, 0].transpose(1, 2, 3, 0)
    blas.matmul(_FILTERS.astype(w.dtype), by_tap, kernels)
    return kernels.reshape(16, channels, outputs)


def _inputs(x: Array, tiles: Block) -> Array:
    """Return B' d B of all tiles: (16, tiles, C)."""
    slab = padded(x, tiles)[:, 0]
    images, _, height, width = tiles.pixels
    image, line, pixel, value = slab.strides
    shape, strides = (4, 4, images, height, width, x.shape[4]), (line, pixel, image, 2 * line, 2 * pixel, value)
    seen = scratch.get("columns", shape, x.dtype)  # the memory that im2col uses in this thread
    np.copyto(seen, as_strided(slab, shape, strides, writeable=False))
    places = scratch.get("places", (16, seen[0, 0].size), x.dtype)
    blas.single(_INPUTS.astype(x.dtype), seen.reshape(places.shape), places)
    return places.reshape(16, -1, x.shape[4])


def _add_up(products: Array, tiles: Block) -> Array:
    """Return A' M A of all tiles: (2, 2, N, TH, TW, O) from (16, tiles, O)."""
    sums = scratch.get("outputs of tiles", (4, products[0].size), products.dtype)
    blas.single(_OUTPUTS.astype(products.dtype), products.reshape(16, -1), sums)
    images, _, height, width = tiles.pixels
    return sums.reshape(2, 2, images, height, width, products.shape[2])


def _gradients(gy: Array, tiles: Block) -> Array:
    """Return A gY A' of all tiles: (16, tiles, O). What is missing at the edge is 0."""
    images, _, height, width = tiles.pixels
    by_tile = scratch.get("gradients of outputs", (2, 2, images, height, width, gy.shape[3]), gy.dtype)
    if gy.shape[1:3] != (2 * height, 2 * width):
        by_tile.fill(0)
    for i, j in np.ndindex(2, 2):
        seen = gy[:, i::2, j::2]
        by_tile[i, j, :, : seen.shape[1], : seen.shape[2]] = seen
    places = scratch.get("gradients of places", (16, by_tile[0, 0].size), gy.dtype)
    blas.single(_OUTPUTS.T.astype(gy.dtype), by_tile.reshape(4, -1), places)
    return places.reshape(16, -1, gy.shape[3])
