"""Convolution on the CPU: blocked im2col and GEMM over channels-last memory.

The columns of a block of images (or of some rows of a large image) fit the cache, lie in a buffer that each
thread reuses, and are multiplied at once. Blocks are cut by shape only and partial sums are added in block
order, so the bits depend neither on the number of threads nor on which thread did what.

All arrays are C-contiguous: x (N, D, H, W, C), w (O, KD, KH, KW, C / groups), y (N, OD, OH, OW, O).

Source: Chellapilla et al. 2006.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from gpunet.backend import blas, pool, scratch
from gpunet.ops.geometry import Geometry, Triple, triple

__all__ = ["forward", "input_gradient", "weight_gradient"]

Array = npt.NDArray[Any]

# A GEMM should have at least so many rows, and a column buffer that makes up for the calls ...
_ROWS, _LEAST_BYTES = 384, 1 << 18
# ... where rows are summed over, long products pay, but gy has to stay in the cache too ...
_ROWS_SUMMED, _LEAST_BYTES_SUMMED = 1024, 1 << 17
_MOST_BYTES = 5 << 19  # ... and the columns should stay in the cache of one core.
_FEW_CHANNELS = 4  # so few adjacent values that columns are copied along the image rows instead
_RUNS, _PARTIAL_BYTES = 16, 1 << 25  # partial weight gradients: how many, and all together
_RUN_PRODUCT = 16_000_000  # floating-point operations below which another partial gradient does not pay


@dataclass(frozen=True, slots=True)
class _Block:
    """Some images, or adjacent outputs of one image; indices of images and of the three axes."""

    where: tuple[slice, ...]  # the outputs
    pixels: tuple[int, ...]  # how many
    source: tuple[slice, ...]  # the input that they read
    slab: tuple[int, ...]  # size of that input with its padding
    inside: tuple[slice, ...] | None  # where the input lies in the slab; None where it is all of it

    def rows(self, array: Array) -> Array:
        """View these outputs of an array (N, OD, OH, OW, O) as (rows, O)."""
        return array[self.where].reshape(math.prod(self.pixels), array.shape[-1])


def _pieces(g: Geometry, depth: int, itemsize: int, limits: Triple) -> Iterator[tuple[slice, ...]]:
    """Cut the outputs into whole images, or into pieces of one image where that is large.

    A piece of images has the rows and bytes of columns, `depth` values per row, that `limits` asks for at least;
    no piece has more bytes than its third number, unless one row has.
    """
    rows, least_bytes, most_bytes = limits
    per_output = max(1, depth * itemsize)
    per_image = math.prod(g.out_size)
    most = most_bytes // per_output
    if per_image <= most:
        images = max(-(-rows // per_image), least_bytes // (per_image * per_output))
        images = max(1, min(images, most // per_image))
        for n in range(0, g.batch, images):
            yield (slice(n, min(n + images, g.batch)), *(slice(0, size) for size in g.out_size))
        return
    inner = (g.out_size[1] * g.out_size[2], g.out_size[2], 1)
    axis = next((axis for axis in range(3) if inner[axis] <= most), 2)  # cut here; one by one along the axes outside
    length = g.out_size[axis]
    step = -(-length // -(-length // max(1, most // inner[axis])))
    for outer in itertools.product(range(g.batch), *map(range, g.out_size[:axis])):
        for first in range(0, length, step):
            whole = (slice(0, size) for size in g.out_size[axis + 1 :])
            yield (*(slice(i, i + 1) for i in outer), slice(first, min(first + step, length)), *whole)


def _along(outputs: slice, axis: int, g: Geometry, spread: int) -> tuple[slice, int, slice]:
    """Return the input that outputs read along an axis, its extent with padding, and where it lies in that."""
    first = outputs.start * g.stride[axis] - g.padding[axis]
    extent = (outputs.stop - outputs.start - 1) * g.stride[axis] + g.dilation[axis] * (g.window[axis] - 1) + 1
    low = max(0, -(-first // spread))
    high = min(g.in_size[axis], -(-(first + extent) // spread))
    if high <= low:
        return slice(0, 0), extent, slice(0, 0)
    return slice(low, high), extent, slice(low * spread - first, (high - 1) * spread - first + 1, spread)


@functools.lru_cache(maxsize=64)
def _blocks(g: Geometry, depth: int, itemsize: int, limits: Triple, spread: Triple = (1, 1, 1)) -> tuple[_Block, ...]:
    """Cut a convolution into blocks.

    `spread` puts zeros between the input's elements, so that element i stands at i * spread: what a strided
    convolution's gradient needs.
    """
    blocks = []
    for where in _pieces(g, depth, itemsize, limits):
        source, slab, inside = zip(*(_along(where[1 + a], a, g, spread[a]) for a in range(3)), strict=True)
        pixels = tuple(part.stop - part.start for part in where)
        full = all(part == slice(0, size, 1) for part, size in zip(inside, slab, strict=True))
        into = None if full else (slice(None), *inside)
        blocks.append(_Block(where, pixels, (where[0], *source), (pixels[0], *slab), into))
    return tuple(blocks)


def _slab(x: Array, block: _Block) -> Array:
    """Return the input that a block of outputs reads, zeros where it lies in the padding."""
    source = x[block.source]
    if block.inside is None:
        return source
    slab = scratch.get("slab", (*block.slab, x.shape[4]), x.dtype)
    slab.fill(0)
    slab[block.inside] = source
    return slab


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


def _convolve(
    y: Array,
    x: Array,
    kernels: Sequence[Array],
    bias: Array | None,
    g: Geometry,
    spread: Triple = (1, 1, 1),
    relu: bool = False,
) -> None:
    """y = columns of x @ kernels[group] + bias, perhaps clipped by ReLU, block by block."""
    limits = _ROWS, _LEAST_BYTES, _MOST_BYTES
    blocks = _blocks(g, g.taps * g.channels // g.groups, x.itemsize, limits, spread)
    line = None if bias is None else np.tile(bias, g.out_size[2])  # NumPy adds long rows faster

    def work(task: int) -> None:
        block = blocks[task]
        slab = _slab(x, block)
        rows = block.rows(y)
        for group, kernel in enumerate(kernels):
            columns = _columns(slab, block.pixels, g, _group(group, g.channels, g.groups))
            blas.single(columns, kernel, rows[:, _group(group, g.outputs, g.groups)])
        if line is not None:
            lines = rows.reshape(-1, block.pixels[3] * g.outputs)
            lines += line[: lines.shape[1]]
        if relu:
            np.maximum(rows, 0, out=rows)

    if y.size:
        blas.parallel(len(blocks), work)


def forward(y: Array, x: Array, w: Array, bias: Array | None, g: Geometry, relu: bool = False) -> None:
    """y = x convolved with w, plus bias, clipped by ReLU if that is wanted."""
    flat = w.reshape(g.outputs, math.prod(w.shape[1:]))
    _convolve(y, x, [flat[_group(i, g.outputs, g.groups)].T for i in range(g.groups)], bias, g, relu=relu)


def input_gradient(gx: Array, gy: Array, w: Array, g: Geometry, bias: Array | None = None) -> None:
    """gx = gradient of the input: gy, spread by the stride, convolved with the flipped filters, plus bias.

    It costs stride**2 times the products that are needed; a copy back from columns costs more where it is 1.
    """
    flipped = w[:, ::-1, ::-1, ::-1].transpose(1, 2, 3, 0, 4)
    kernels = [
        np.ascontiguousarray(flipped[..., _group(i, g.outputs, g.groups), :]).reshape(
            g.taps * g.outputs // g.groups, w.shape[-1]
        )
        for i in range(g.groups)
    ]
    padding = triple([d * (k - 1) - p for d, k, p in zip(g.dilation, g.window, g.padding, strict=True)], 0)
    mirrored = replace(
        g,
        channels=g.outputs,
        outputs=g.channels,
        in_size=g.out_size,
        out_size=g.in_size,
        stride=(1, 1, 1),
        padding=padding,
    )
    _convolve(gx, gy, kernels, bias, mirrored, g.stride)


def weight_gradient(gw: Array, gb: Array | None, gy: Array, x: Array, g: Geometry) -> None:
    """gw = gradient of the weight, gb that of the bias: partial sums of runs of blocks, added in order.

    Memory: up to 16 partial gradients, as many as fit 32 MiB but at least four.
    """
    depth = g.taps * g.channels // g.groups
    limits = _ROWS_SUMMED, _LEAST_BYTES_SUMMED, _MOST_BYTES
    blocks = _blocks(g, depth, x.itemsize, limits) if gy.size else ()
    product = 2 * g.out_pixels * gw.size
    runs = min(len(blocks), _RUNS, max(4, _PARTIAL_BYTES // max(1, gw.nbytes)), max(1, product // _RUN_PRODUCT))
    partial_w = pool.allocate((runs, g.outputs, depth), gw.dtype)
    partial_b = np.zeros((runs, 1, g.outputs), gw.dtype)

    def work(run: int) -> None:
        first, last = run * len(blocks) // runs, (run + 1) * len(blocks) // runs
        for number in range(first, last):
            block, total = blocks[number], partial_w[run]
            slab = _slab(x, block)
            rows = block.rows(gy)
            part = total if number == first else scratch.get("part", total.shape, gw.dtype)
            for group in range(g.groups):
                columns = _columns(slab, block.pixels, g, _group(group, g.channels, g.groups))
                outs = _group(group, g.outputs, g.groups)
                blas.single(rows[:, outs].T, columns, part[outs])
            if part is not total:
                total += part
            if gb is not None:
                sums = np.empty((1, g.outputs), gw.dtype)
                blas.single(np.ones((1, len(rows)), gw.dtype), rows, sums)
                partial_b[run] += sums

    blas.parallel(runs, work)
    np.add.reduce(partial_w, axis=0, out=gw.reshape(g.outputs, depth))
    if gb is not None:
        np.add.reduce(partial_b[:, 0], axis=0, out=gb)
