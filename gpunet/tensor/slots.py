"""Slots: one array in which the gradients of several parameters lie, each in a place of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from gpunet.backend import Array, Backend
from gpunet.backend.layout import Layout, from_memory_view, memory_order
from gpunet.ops.chunks import cut

__all__ = ["GradientSlots", "view_run"]

_TABLES = 64  # kept at once: a network that leaves out other layers in every step has new ones without end
_ALIGNMENT = 32  # elements: every parameter starts on a 128-byte line


class GradientSlots:
    """Memory for the gradients of several parameters; backward writes each gradient straight into its slot.

    What reads or changes all of them (an optimizer, clipping) takes one launch, with a table of the slots that count.

    Attributes:
        array: (size,), zero between the slots.
        starts: where each slot begins.
        rows: for each slot its chunks (start, length, counter); counters are numbered through.
    """

    def __init__(self, be: Backend, sizes: Sequence[int], dtype: npt.DTypeLike) -> None:
        ends = np.cumsum([-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]).tolist()
        self.array: Array = be.zeros((ends[-1],), dtype)
        self.starts: list[int] = [0, *ends[:-1]]
        self.rows: list[list[tuple[int, int, int]]] = []
        counter = 0
        for start, size in zip(self.starts, sizes, strict=True):
            self.rows.append([(*run, counter + i) for i, run in enumerate(cut(be, start, size))])
            counter += len(self.rows[-1])
        self.chunk_count = counter
        self._backend = be
        self._tables: dict[tuple[int, ...], Array] = {}

    def table(self, slots: Iterable[int]) -> Array:
        """Return the chunk table of some slots; it is uploaded once, unless many other sets are asked for."""
        key = tuple(sorted(slots))
        if key not in self._tables:
            if len(self._tables) >= _TABLES:
                self._tables.clear()
            rows = np.array([row for slot in key for row in self.rows[slot]], np.int64).reshape(-1, 3)
            self._tables[key] = self._backend.from_numpy(rows)
        return self._tables[key]


def view_run(flat: Array, start: int, shape: tuple[int, ...], layout: Layout) -> Array:
    """View a run of a flat buffer as an array of a shape, in a memory layout."""
    order = memory_order(len(shape), layout)
    memory = flat[start : start + math.prod(shape)].reshape(tuple(shape[axis] for axis in order))
    return from_memory_view(memory, layout)
