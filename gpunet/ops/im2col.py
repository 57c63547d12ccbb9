"""Convolution on the CPU: blocked im2col and GEMM over channels-last memory.

The columns of a block of images (or of some rows of a large image) fit the cache, lie in a buffer that each
thread reuses, and are multiplied at once. Blocks are cut by shape only and partial sums are added in block
order, so the bits depend neither on the number of threads nor on which thread did what.

All arrays are C-contiguous: x (N, D, H, W, C), w (O, KD, KH, KW, C / groups), y (N, OD, OH, OW, O).

Source: Chellapilla et al. 2006.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import blas
from gpunet.ops.geometry import Geometry, Triple, triple

__all__ = ["forward", "input_gradient", "weight_gradient"]

Array = npt.NDArray[Any]

_ROWS = 384  # a GEMM should have at least so many rows ...
_LEAST_BYTES = 1 << 18  # ... and a column buffer that makes up for the calls
_MOST_BYTES = 5 << 19  # but fit into the cache of one core
_PARTIAL_BYTES = 1 << 25  # all partial weight gradients together


@dataclass(frozen=True, slots=True)
class _Block:
    """Images n0 to n1, and of each the outputs r0 to r1 along `axis` (0 depth, 1 height)."""

    n0: int
    n1: int
    r0: int
    r1: int
    axis: int


def _blocks(g: Geometry, columns: int, itemsize: int, rows: int = _ROWS) -> list[_Block]:
    """Cut the outputs into blocks of whole images, or of rows of one image where that is large."""
    per_image = g.out_size[0] * g.out_size[1] * g.out_size[2]
    image_bytes = per_image * columns * itemsize
    axis = 0 if g.out_size[0] > 1 else 1
    length = g.out_size[axis]
    if image_bytes > _MOST_BYTES and length > 1:
        step = max(1, length * _MOST_BYTES // image_bytes)
        return [
            _Block(n, n + 1, r, min(r + step, length), axis) for n in range(g.batch) for r in range(0, length, step)
        ]
    images = max(-(-rows // per_image), -(-_LEAST_BYTES // image_bytes))
    images = max(1, min(images, _MOST_BYTES // image_bytes))
    return [_Block(n, min(n + images, g.batch), 0, length, axis) for n in range(0, g.batch, images)]


class _Scratch(threading.local):
    """Buffers of one thread, each reused for every block and call; the largest size wins."""

    def __init__(self) -> None:
        self.buffers: dict[str, npt.NDArray[np.uint8]] = {}

    def get(self, name: str, shape: Sequence[int], dtype: Any) -> Array:
        """Return uninitialised memory; the same memory for the same name."""
        nbytes = int(np.prod(shape)) * dtype.itemsize
        buffer = self.buffers.get(name)
        if buffer is None or buffer.nbytes < nbytes:
            self.buffers[name] = buffer = np.empty(nbytes, np.uint8)
        return buffer[:nbytes].view(dtype).reshape(shape)


_scratch = _Scratch()


def _slab(x: Array, g: Geometry, block: _Block, spread: Triple) -> tuple[Array, list[int]]:
    """Return the input that a block of outputs reads, zeros where it lies in the padding.

    `spread` puts zeros between the input's elements, so that element i stands at i * spread: what a strided
    convolution's gradient needs. Also returns the number of outputs along each axis.
    """
    outputs, start, size, inside = list(g.out_size), [], [], []
    outputs[block.axis] = block.r1 - block.r0
    for axis in range(3):
        first = (block.r0 if axis == block.axis else 0) * g.stride[axis] - g.padding[axis]
        extent = (outputs[axis] - 1) * g.stride[axis] + g.dilation[axis] * (g.window[axis] - 1) + 1
        lowest = max(0, -(-first // spread[axis]))
        highest = min(x.shape[1 + axis], -(-(first + extent) // spread[axis]))
        start.append(first)
        size.append(extent)
        inside.append((lowest, max(lowest, highest)))
    source = x[(slice(block.n0, block.n1), *(slice(low, high) for low, high in inside))]
    if spread == (1, 1, 1) and source.shape[1:4] == tuple(size):
        return source, outputs
    slab = _scratch.get("slab", (block.n1 - block.n0, *size, x.shape[4]), x.dtype)
    slab.fill(0)
    where = (
        slice(low * s - first, (high - 1) * s - first + 1, s) if high > low else slice(0, 0)
        for (low, high), s, first in zip(inside, spread, start, strict=True)
    )
    slab[(slice(None), *where)] = source
    return slab, outputs


def _columns(slab: Array, outputs: Sequence[int], g: Geometry, channels: slice) -> Array:
    """Copy the windows of a slab into a (outputs, taps * channels) matrix."""
    slab = slab[..., channels]
    if g.taps == 1 and g.stride == (1, 1, 1) and slab.flags.c_contiguous:
        return slab.reshape(-1, slab.shape[-1])
    n, per_axis, per_channel = slab.strides[0], slab.strides[1:4], slab.strides[4]
    shape = (slab.shape[0], *outputs, *g.window, slab.shape[4])
    strides = (
        n,
        *(step * s for step, s in zip(per_axis, g.stride, strict=True)),
        *(step * d for step, d in zip(per_axis, g.dilation, strict=True)),
        per_channel,
    )
    windows = np.lib.stride_tricks.as_strided(slab, shape, strides, writeable=False)
    columns = _scratch.get("columns", shape, slab.dtype)
    np.copyto(columns, windows)
    return columns.reshape(-1, g.taps * slab.shape[4])


def _rows(array: Array, block: _Block) -> Array:
    """View a block of outputs as (rows, channels)."""
    part = array[block.n0 : block.n1]
    part = part[:, block.r0 : block.r1] if block.axis == 0 else part[:, :, block.r0 : block.r1]
    return part.reshape(-1, array.shape[-1])


def _group(index: int, count: int, groups: int) -> slice:
    return slice(index * count // groups, (index + 1) * count // groups)


def _convolve(
    y: Array, x: Array, kernels: Sequence[Array], bias: Array | None, g: Geometry, spread: Triple = (1, 1, 1)
) -> None:
    """y = columns of x @ kernels[group] + bias, block by block."""
    blocks = _blocks(g, g.taps * g.channels // g.groups, x.itemsize)

    def work(task: int) -> None:
        block = blocks[task]
        slab, outputs = _slab(x, g, block, spread)
        rows = _rows(y, block)
        for group, kernel in enumerate(kernels):
            columns = _columns(slab, outputs, g, _group(group, g.channels, g.groups))
            blas.single(columns, kernel, rows[:, _group(group, g.outputs, g.groups)])
        if bias is not None:
            rows += bias

    if y.size:
        blas.parallel(len(blocks), work)


def forward(y: Array, x: Array, w: Array, bias: Array | None, g: Geometry) -> None:
    """y = x convolved with w, plus bias."""
    flat = w.reshape(g.outputs, -1)
    _convolve(y, x, [flat[_group(i, g.outputs, g.groups)].T for i in range(g.groups)], bias, g)


def input_gradient(gx: Array, gy: Array, w: Array, g: Geometry) -> None:
    """gx = gradient of the input: gy, spread by the stride, convolved with the flipped filters.

    It costs stride**2 times the products that are needed; a copy back from columns costs more where it is 1.
    """
    flipped = w[:, ::-1, ::-1, ::-1].transpose(1, 2, 3, 0, 4)
    kernels = [
        np.ascontiguousarray(flipped[..., _group(i, g.outputs, g.groups), :]).reshape(-1, w.shape[-1])
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
    _convolve(gx, gy, kernels, None, mirrored, g.stride)


def weight_gradient(gw: Array, gb: Array | None, gy: Array, x: Array, g: Geometry) -> None:
    """gw = gradient of the weight, gb that of the bias: partial sums of runs of blocks, added in order."""
    depth = g.taps * g.channels // g.groups
    blocks = _blocks(g, depth, x.itemsize, rows=1024) if gy.size else []
    runs = max(1, min(len(blocks), _PARTIAL_BYTES // max(1, gw.nbytes)))
    partial_w = np.zeros((runs, g.outputs, depth), gw.dtype)
    partial_b = np.zeros((runs, 1, g.outputs), gw.dtype)

    def work(run: int) -> None:
        for block in blocks[run * len(blocks) // runs : (run + 1) * len(blocks) // runs]:
            slab, outputs = _slab(x, g, block, (1, 1, 1))
            rows = _rows(gy, block)
            product = _scratch.get("product", (g.outputs, depth), gw.dtype)
            for group in range(g.groups):
                columns = _columns(slab, outputs, g, _group(group, g.channels, g.groups))
                outs = _group(group, g.outputs, g.groups)
                blas.single(rows[:, outs].T, columns, product[outs])
            partial_w[run] += product
            if gb is not None:
                total = np.empty((1, g.outputs), gw.dtype)
                blas.single(np.ones((1, len(rows)), gw.dtype), rows, total)
                partial_b[run] += total

    blas.parallel(runs if blocks else 0, work)
    np.add.reduce(partial_w, axis=0, out=gw.reshape(g.outputs, depth))
    if gb is not None:
        np.add.reduce(partial_b[:, 0], axis=0, out=gb)
