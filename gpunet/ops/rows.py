"""Rows along one axis of a dense array, as kernels/rows.cuh and NumPy walk them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array, Layout, blas
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import blocks, power_of_two
from gpunet.backend.layout import memory_order, memory_view

__all__ = ["Rows"]

_WARP, _THREADS = 32, 256  # threads of a warp, and of a block
_VECTORS = 4  # of 16 bytes that a lane takes before rows get a block
_FILLED = 1 << 17  # threads that fill a large GPU
_CHUNK = 1 << 16  # elements that fit the cache


class Rows:
    """How the rows along `axis` lie in memory of a layout, which reads (outer, size, inner).

    >>> rows = Rows((2, 3, 5), 1, "contiguous")
    >>> rows.outer, rows.size, rows.inner
    (2, 3, 5)
    """

    def __init__(self, shape: tuple[int, ...], axis: int, layout: Layout) -> None:
        self.layout = layout
        in_memory = [shape[i] for i in memory_order(len(shape), layout)]
        place = memory_order(len(shape), layout).index(axis % len(shape)) if shape else 0
        self.outer, self.inner = math.prod(in_memory[:place]), math.prod(in_memory[place + 1 :])
        self.size = in_memory[place] if shape else 1
        self.count = self.outer * self.inner

    def lanes(self, dtype: np.dtype[Any]) -> int:
        """Return how many threads share a row: lanes of a warp, or a block, a large one if there are few rows.

        >>> [Rows((8, size), 1, "contiguous").lanes(np.dtype("f4")) for size in (1, 10, 33, 512, 513, 50_000)]
        [1, 4, 16, 32, 256, 1024]
        """
        if self.inner != 1 or not self.count:
            return 1  # neighbouring threads read neighbouring rows
        vectors = max(1, blocks(self.size, 16 // dtype.itemsize))
        if vectors <= _VECTORS * _WARP:
            return min(power_of_two(vectors), _WARP)
        lanes, most = _THREADS, 4096 // accumulator(dtype).itemsize  # as THREADS of kernels/rows.cuh
        while lanes < min(vectors, most, _FILLED // self.count):
            lanes *= 2
        return lanes

    def launch_sizes(self, dtype: np.dtype[Any], most_blocks: int | None = None) -> tuple[int, int, dict[str, int]]:
        """Return grid, block, and the fields of the kernels' struct Rows; a block takes more rows if need be."""
        lanes = self.lanes(dtype)
        block = max(lanes, _THREADS)
        at_once = block // lanes
        per_block = at_once * (max(1, blocks(self.count, at_once * most_blocks)) if most_blocks else 1)
        fields = {"count": self.count, "size": self.size, "inner": self.inner, "lanes": lanes, "per_block": per_block}
        return blocks(self.count, per_block), block, fields

    def view(self, array: Array) -> Array:
        """View an array that is dense in the layout as (outer, size, inner)."""
        return memory_view(array, self.layout).reshape(self.outer, self.size, self.inner)

    def one_each(self, array: Array) -> Array:
        """View a dense array of one value per row as (outer, 1, inner)."""
        return array.reshape(self.outer, 1, self.inner)

    def in_chunks(self, work: Callable[..., object], *views: Array) -> None:
        """Call work on pieces of such views that fit the cache, shared by our threads."""
        if 0 < self.count * self.size <= _CHUNK:
            work(*views)
            return
        step = max(1, _CHUNK // max(1, self.size * self.inner))
        pieces = [slice(start, start + step) for start in range(0, self.outer if self.size * self.inner else 0, step)]
        blas.parallel(len(pieces), lambda i: work(*(view[pieces[i]] for view in views)))
