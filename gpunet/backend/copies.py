"""How an array is copied into another: which kernel of kernels/copy.cu does it, and what it walks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpunet.backend.base import Array
from gpunet.backend.layout import coalesce

__all__ = ["Plan", "plan"]

_THREADS = 256  # of a block
_VECTOR = 16  # bytes
_MOST_BLOCKS = 65535  # along the second and the third axis of a grid
_LEAST = 8  # rows and columns of a matrix: on a tile of fewer, most threads are idle, and caches keep what others need


@dataclass(frozen=True)
class Plan:
    """A launch: the kernel, its blocks, the axes that both operands walk with strides in bytes, and what comes last."""

    kernel: str
    grid: tuple[int, ...]
    sizes: list[int]
    out_strides: list[int]
    x_strides: list[int]
    rest: tuple[int, ...]


def plan(out: Array, x: Array, aligned: bool) -> Plan:
    """Plan the copy of x into `out`, which has its shape and dtype; `aligned` says whether both lie at whole elements.

    >>> import numpy as np
    >>> plan(np.zeros((2, 8, 40)), np.zeros((2, 40, 8)).transpose(0, 2, 1), aligned=True).kernel
    'copy_transposed'
    """
    order = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))  # as `out` lies in memory
    axes = coalesce(*([values[axis] for axis in order] for values in (out.shape, out.strides, x.strides)))
    return (_transposed(axes, out.itemsize) if aligned else None) or _strided(axes, out.size, out.itemsize, aligned)


def _transposed(axes: list[list[int]], itemsize: int) -> Plan | None:
    """Plan a copy by tiles, where x has its neighbours along the rows, `out` along the last axis, and both are long."""
    sizes, out_strides, x_strides = axes
    if out_strides[-1:] != [itemsize] or itemsize not in x_strides[:-1]:
        return None
    at = x_strides.index(itemsize)
    rows, columns = sizes[at], sizes[-1]
    matrices, out_steps, x_steps = ([*each[:at], *each[at + 1 : -1]] for each in axes)
    side = 64 if itemsize < 4 else 32  # SIDE of kernels/copy.cu
    grid = _parts(columns, side), _parts(rows, side), math.prod(matrices)
    if min(rows, columns) < _LEAST or max(grid[1:]) > _MOST_BLOCKS:
        return None
    rest = rows, columns, out_strides[at], x_strides[-1]
    return Plan("copy_transposed", grid, matrices, out_steps, x_steps, rest)


def _strided(axes: list[list[int]], size: int, itemsize: int, aligned: bool) -> Plan:
    sizes, out_strides, x_strides = axes
    width = _VECTOR // itemsize
    in_runs = out_strides[-1:] == x_strides[-1:] == [itemsize] and (len(sizes) == 1 or sizes[-1] % width == 0)
    in_vectors = aligned and in_runs
    grid = (_parts(size, _THREADS * width if in_vectors else _THREADS),)
    return Plan("copy_strided", grid, sizes, out_strides, x_strides, (size, int(aligned), int(in_vectors)))


def _parts(size: int, most: int) -> int:
    return -(-size // most)
