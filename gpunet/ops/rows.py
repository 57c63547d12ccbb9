"""Rows along one axis of a dense array, as kernels/rows.cuh and NumPy walk them."""

from __future__ import annotations

import math

from gpunet.backend import Layout
from gpunet.backend.kernel_backend import blocks
from gpunet.backend.layout import memory_order

__all__ = ["THREADS", "Rows"]

THREADS = 128  # of a block, as in the launch bounds of the kernels that walk rows
_WARP = 32


class Rows:
    """How the rows along `axis` lie in memory of a layout, which reads (outer, size, inner).

    >>> rows = Rows((2, 3, 5), 1, "contiguous")
    >>> rows.outer, rows.size, rows.inner
    (2, 3, 5)
    """

    def __init__(self, shape: tuple[int, ...], axis: int, layout: Layout) -> None:
        order = memory_order(len(shape), layout) or (0,)
        in_memory = [shape[i] for i in order] if shape else [1]
        place = order.index(axis % len(order))
        self.outer, self.inner = math.prod(in_memory[:place]), math.prod(in_memory[place + 1 :])
        self.size = in_memory[place]
        self.count = self.outer * self.inner

    def launch_sizes(self, most_blocks: int | None = None) -> tuple[int, dict[str, int]]:
        """Return the grid, and the fields of the kernels' struct Rows; a block takes more rows if need be."""
        lanes = _WARP if self.inner == 1 else 1
        at_once = THREADS // lanes
        per_block = at_once * (max(1, blocks(self.count, at_once * most_blocks)) if most_blocks else 1)
        fields = {"count": self.count, "size": self.size, "inner": self.inner, "lanes": lanes, "per_block": per_block}
        return blocks(self.count, per_block), fields
