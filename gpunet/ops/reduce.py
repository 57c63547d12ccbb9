"""Reductions: sum_to_size, the gradient of broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks, power_of_two
from gpunet.backend.layout import coalesce
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out

__all__ = ["sum_axes", "sum_partials", "sum_to_channels", "sum_to_size"]

_THREADS, _BLOCKS = 256, 1024  # of a block; that fill a large GPU
_LEAST_SUMMANDS = 1024  # of a split
_LEAST_LOADS = 4  # of a thread


class SumToSize(Op):
    """Sum over the axes along which `size` would broadcast to the shape of x.

        y[j] = sum of x[i] over all i that broadcasting maps to j

    Args:
        x: any shape, any float dtype.
        size: a shape that broadcasts to that of x.

    Returns:
        Shape `size`, dtype of x, contiguous. The order of summation depends on the shapes only.

    Raises:
        ShapeError: `size` does not broadcast to the shape of x.
        DTypeError: x is not floating-point.

    Example:
        >>> sum_to_size(np.ones((2, 3)), (3,))
        array([2., 2., 2.])
    """

    name = "sum_to_size"

    def bind(self, x: Array, size: tuple[int, ...]) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {"size": arguments.integers(self.name, "size", size)}

    def infer(self, x: Array, size: tuple[int, ...]) -> tuple[Out]:
        self.require_floats(x=x)
        aligned = (1,) * (x.ndim - len(size)) + size
        if len(aligned) != x.ndim or any(s not in (1, n) for s, n in zip(aligned, x.shape, strict=True)):
            raise self.error(
                ShapeError,
                "x cannot be summed to that size.",
                expected=f"a size that broadcasts to {x.shape}, got {size}",
                x=x,
            )
        return (Out(size, x.dtype),)

    def reference(self, be: Backend, y: Array, x: Array, size: tuple[int, ...]) -> None:
        aligned = (1,) * (x.ndim - len(size)) + size
        summed = tuple([axis for axis, n in enumerate(aligned) if n == 1])
        y[...] = x.sum(axis=summed, dtype=np.float64).reshape(size)  # NumPy adds rows one by one

    def cuda(self, be: KernelBackend, y: Array, x: Array, size: tuple[int, ...]) -> None:
        layout = layout_of(x) or CONTIGUOUS
        x = be.dense(x, layout)
        kept: list[tuple[int, int]] = []
        summed: list[tuple[int, int]] = []
        steps = [step // x.itemsize for step in x.strides]
        for n, step, out in zip(x.shape, steps, (1,) * (x.ndim - len(size)) + size, strict=True):
            (kept if out == n else summed).append((n, step))
        sum_axes(be, y, x, kept, summed)


def sum_axes(
    be: KernelBackend,
    y: Array,
    x: Array,
    kept: Sequence[tuple[int, int]],
    summed: Sequence[tuple[int, int]],
    divisor: float = 1,
) -> None:
    """Sum dense x over axes given as (size, element stride), in splits that are then summed in order, and divide."""
    kept_axes = coalesce(*zip(*kept, strict=True)) if kept else ([], [])
    summed_axes = coalesce(*zip(*summed, strict=True)) if summed else ([], [])
    summands = math.prod(summed_axes[0])
    width = _width(summed_axes[0], summed_axes[1], 16 // x.itemsize)
    adjacent = min(power_of_two(y.size), 32) if kept_axes[1][-1:] == [1] else 1
    parts = min(power_of_two(blocks(summands, _LEAST_LOADS * width)), _THREADS // adjacent)
    columns = blocks(y.size, _THREADS // parts)
    per_split = width * blocks(summands, width * max(1, _BLOCKS // max(columns, 1)))
    per_split = max(per_split, _LEAST_SUMMANDS, _LEAST_LOADS * parts * width)
    splits = max(1, blocks(summands, per_split))
    out = y if splits == 1 else be.empty((splits, y.size), accumulator(y.dtype))
    axes = be.axes(*kept_axes), be.axes(*summed_axes)
    threads = adjacent, parts, int(width > 1)
    args = (out, x, *axes, y.size, summands, per_split, *threads, divisor if splits == 1 else 1)
    be.launch("reduce.cu", "sum_axes", (columns, splits), _THREADS, args, REAL=x.dtype, OUT=out.dtype)
    if splits > 1:
        sum_partials(be, y, out, divisor)


def _width(sizes: Sequence[int], strides: Sequence[int], width: int) -> int:
    """Return how many summands that follow each other are always neighbours in memory, or the last of all: or 1."""
    return width if list(strides[-1:]) == [1] and (len(sizes) == 1 or sizes[-1] % width == 0) else 1


def sum_to_channels(be: KernelBackend, y: Array, x: Array) -> None:
    """Sum dense x (N, C, ...) over all axes but the second into y (C,)."""
    axes = [(n, step // x.itemsize) for n, step in zip(x.shape, x.strides, strict=True)]
    by_stride = sorted((axes[0], *axes[2:]), key=lambda axis: -axis[1])
    sum_axes(be, y, x, [axes[1]], by_stride)


def sum_partials(be: KernelBackend, y: Array, partials: Array, divisor: float = 1) -> None:
    """Sum dense partial results (splits, *shape of y in memory order) into y, in a fixed order, and divide."""
    splits = partials.shape[0]
    sum_axes(be, y, partials, [(y.size, 1)], [(splits, y.size)], divisor)


sum_to_size = SumToSize()
