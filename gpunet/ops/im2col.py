"""Convolution on the CPU: blocked im2col and GEMM over channels-last memory.

The columns of a block of images (or of some rows of a large image) fit the cache, lie in a buffer that each
thread reuses, and are multiplied at once. Blocks are cut by shape only and partial sums are added in block
order, so the bits depend neither on the number of threads nor on which thread did what.

All arrays are C-contiguous: x (N, D, H, W, C), w (O, KD, KH, KW, C / groups), y (N, OD, OH, OW, O).

Source: Chellapilla et al. 2006.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from gpunet.backend import blas, pool, scratch
from gpunet.ops.conv_blocks import Block, Target, cut, padded
from gpunet.ops.geometry import Geometry

__all__ = ["forward", "input_gradient", "keeps_images_whole", "weight_gradient"]

Array = npt.NDArray[Any]

# A block should have so many rows and bytes that calls and the threads' hand-overs of the GIL are few ...
_ROWS, _LEAST_BYTES = 1536, 1 << 20
# ... where rows are summed over, longer products pay ...
_ROWS_SUMMED, _LEAST_BYTES_SUMMED = 2048, 1 << 20
_MOST_BYTES = 5 << 19  # ... and the columns should stay in the cache.
_FEW_CHANNELS = 4  # so few adjacent values that columns are copied along the image rows instead
_RUNS, _PARTIAL_BYTES = 16, 1 << 25  # partial weight gradients: how many, and all together
_RUN_PRODUCT = 16_000_000  # floating-point operations below which another partial gradient does not pay


def keeps_images_whole(g: Geometry, itemsize: int) -> bool:
    """Say whether `forward` makes whole images, one or more at a time."""
    return all(block.pixels[1:] == g.out_size for block in _blocks(g, itemsize))


def _blocks(g: Geometry, itemsize: int) -> tuple[Block, ...]:
    return cut(g, g.taps * g.channels // g.groups, itemsize, (_ROWS, _LEAST_BYTES, _MOST_BYTES))


def _columns(slab: Array, pixels: tuple[int, ...], g: Geometry, channels: slice) -> Array:
    """Return the windows of a slab as a (outputs, taps * channels) matrix, a copy unless the window is one pixel."""
    if g.taps == 1 and g.stride == (1, 1, 1) and slab.flags.c_contiguous:
        return slab.reshape(-1, slab.shape[-1])[:, channels]
    if g.groups == 1 and g.dilation[2] == 1 and slab.shape[4] > _FEW_CHANNELS and slab.flags.c_contiguous:
        return _columns_by_rows(slab, pixels, g)
    slab = slab[..., channels]
    image, *steps, value = slab.strides
    pixel_strides = (image, *map(operator.mul, steps, g.stride))
    taps, tap_strides = (*g.window, slab.shape[4]), (*map(operator.mul, steps, g.dilation), value)
    taps_first = slab.shape[4] <= _FEW_CHANNELS
    shape = taps + pixels if taps_first else pixels + taps
    strides = tap_strides + pixel_strides if taps_first else pixel_strides + tap_strides
    columns = scratch.get("columns", shape, slab.dtype)
    np.copyto(columns, as_strided(slab, shape, strides, writeable=False))
    rows, depth = math.prod(pixels), math.prod(taps)
    return columns.reshape(depth, rows).T if taps_first else columns.reshape(rows, depth)


def _columns_by_rows(slab: Array, pixels: tuple[int, ...], g: Geometry) -> Array:
    """Copy windows whose rows are adjacent in memory; NumPy moves a row as one element, in 2/3 of the time."""
    depth, width = g.taps * slab.shape[4], g.window[2] * slab.shape[4]
    row = np.dtype((np.void, width * slab.itemsize))
    image, *steps, _ = slab.strides
    strides = (image, *map(operator.mul, steps, g.stride), *map(operator.mul, steps[:2], g.dilation[:2]))
    shape = (*pixels, *g.window[:2])
    columns = scratch.get("columns", (math.prod(pixels), depth), slab.dtype)
    np.copyto(columns.view(row).reshape(shape), np.ndarray(shape, row, slab, 0, strides))
    return columns


def _group(index: int, count: int, groups: int) -> slice:
    return slice(index * count // groups, (index + 1) * count // groups)


def _convolve(target: Target, x: Array, kernels: Sequence[Array], g: Geometry) -> None:
    """Give a target columns of x @ kernels[group], block by block."""
    blocks = _blocks(g, x.itemsize)
    multiply = blas.single if len(blocks) > 1 else blas.matmul  # threads share a single block's product

    def work(task: int) -> None:
        block = blocks[task]
        slab, rows = padded(x, block), target.rows(block)
        for group, kernel in enumerate(kernels):
            columns = _columns(slab, block.pixels, g, _group(group, g.channels, g.groups))
            multiply(columns, kernel, rows[:, _group(group, g.outputs, g.groups)])
        target.finish(block, rows)

    if g.out_pixels * g.outputs:
        blas.parallel(len(blocks), work, 2 * g.out_pixels * sum(kernel.size for kernel in kernels))


def forward(target: Target, x: Array, w: Array, g: Geometry) -> None:
    """Give a target x convolved with w."""
    flat = w.reshape(g.outputs, math.prod(w.shape[1:]))
    _convolve(target, x, [flat[_group(i, g.outputs, g.groups)].T for i in range(g.groups)], g)


def input_gradient(gx: Array, gy: Array, w: Array, g: Geometry, bias: Array | None = None) -> None:
    """gx = gradient of the input, plus bias: gy convolved with flipped filters.

    Inputs that lie equally far from a multiple of the stride see the same taps of the filters: each such set is a
    convolution with stride 1 by itself, and no product is spent on zeros between the elements of gy.
    """
    for rest in itertools.product(*map(range, g.stride)):
        part = gx[(slice(None), *(slice(r, None, s) for r, s in zip(rest, g.stride, strict=True)))]
        taps, steps, padding = zip(*(_seen(g, axis, r) for axis, r in enumerate(rest)), strict=True)
        filters = w[(slice(None), *taps)][:, ::-1, ::-1, ::-1]
        if 0 in part.shape or 0 in filters.shape:
            part[...] = 0 if bias is None else bias
            continue
        flipped = filters.transpose(1, 2, 3, 0, 4)
        kernels = [
            _dense(flipped[..., _group(i, g.outputs, g.groups), :]).reshape(-1, w.shape[-1]) for i in range(g.groups)
        ]
        mirrored = replace(
            g,
            channels=g.outputs,
            outputs=g.channels,
            in_size=g.out_size,
            out_size=part.shape[1:4],
            window=filters.shape[1:4],
            stride=(1, 1, 1),
            padding=padding,
            dilation=steps,
        )
        _convolve(Target(part, bias), gy, kernels, mirrored)


def _dense(filters: Array) -> Array:
    copy = pool.allocate(filters.shape, filters.dtype)
    copy[...] = filters
    return copy


def _seen(g: Geometry, axis: int, rest: int) -> tuple[slice, int, int]:
    """Return which taps see the inputs rest + i * stride, how far apart in gy, and the padding of gy.

    Output o sees input i through tap k where i = o * stride + k * dilation - padding.
    """
    stride, dilation, window = g.stride[axis], g.dilation[axis], g.window[axis]
    common = math.gcd(stride, dilation)
    every = stride // common
    first = next((k for k in range(every) if (rest + g.padding[axis] - k * dilation) % stride == 0), window)
    taps = slice(first, None, every)
    count, step = len(range(window)[taps]), dilation // common
    return taps, step, (count - 1) * step - (rest + g.padding[axis] - first * dilation) // stride


def weight_gradient(gw: Array, gb: Array | None, gy: Array, x: Array, g: Geometry) -> None:
    """gw = gradient of the weight, gb that of the bias: partial sums of runs of blocks, added in order.

    Memory: up to 16 partial gradients, as many as fit 32 MiB but at least four.
    """
    depth = g.taps * g.channels // g.groups
    limits = _ROWS_SUMMED, _LEAST_BYTES_SUMMED, _MOST_BYTES
    blocks = cut(g, depth, x.itemsize, limits) if gy.size else ()
    product = 2 * g.out_pixels * gw.size
    runs = min(len(blocks), _RUNS, max(4, _PARTIAL_BYTES // max(1, gw.nbytes)), max(1, product // _RUN_PRODUCT))
    partial_w = pool.allocate((runs, g.outputs, depth), gw.dtype)
    partial_b = np.zeros((runs, g.outputs), gw.dtype)

    def work(run: int) -> None:
        first, last = run * len(blocks) // runs, (run + 1) * len(blocks) // runs
        for number in range(first, last):
            block, total = blocks[number], partial_w[run]
            slab = padded(x, block)
            rows = block.rows(gy)
            part = total if number == first else scratch.get("part", total.shape, gw.dtype)
            for group in range(g.groups):
                columns = _columns(slab, block.pixels, g, _group(group, g.channels, g.groups))
                outs = _group(group, g.outputs, g.groups)
                blas.single(rows[:, outs].T, columns, part[outs])
            if part is not total:
                total += part
            if gb is not None:
                partial_b[run] += blas.column_sums(rows)

    blas.parallel(runs, work)
    np.add.reduce(partial_w, axis=0, out=gw.reshape(g.outputs, depth))
    if gb is not None:
        np.add.reduce(partial_b, axis=0, out=gb)
