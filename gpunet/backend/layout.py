"""Memory layouts: how the axes of an array lie in memory.

Shapes always read (N, C, *spatial), as in PyTorch. `CONTIGUOUS` memory has that order too (C order);
`CHANNELS_LAST` memory runs (N, *spatial, C), the order in which convolution kernels read best.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

__all__ = [
    "CHANNELS_LAST",
    "CONTIGUOUS",
    "Layout",
    "coalesce",
    "from_memory_view",
    "is_dense",
    "layout_of",
    "memory_order",
    "memory_view",
]

Layout = Literal["contiguous", "channels_last"]
CONTIGUOUS: Layout = "contiguous"
CHANNELS_LAST: Layout = "channels_last"


@functools.cache
def memory_order(ndim: int, layout: Layout) -> tuple[int, ...]:
    """Return the axes from slowest to fastest; below three axes both layouts are C order.

    >>> memory_order(4, "channels_last")
    (0, 2, 3, 1)
    """
    if layout not in (CONTIGUOUS, CHANNELS_LAST):
        raise ValueError(f'layout must be "contiguous" or "channels_last", got {layout!r}')
    if layout == CHANNELS_LAST and ndim >= 3:
        return (0, *range(2, ndim), 1)
    return tuple(range(ndim))


def memory_view(array: Any, layout: Layout) -> Any:
    """Return a view whose axes run from slowest to fastest: C-contiguous if the array is dense so."""
    if layout == CONTIGUOUS or array.ndim < 3:
        return array
    return array.transpose(memory_order(array.ndim, layout))


def from_memory_view(memory: Any, layout: Layout) -> Any:
    """Undo `memory_view`: give the axes their places back."""
    if layout == CONTIGUOUS or memory.ndim < 3:
        return memory
    return memory.transpose((0, memory.ndim - 1, *range(1, memory.ndim - 1)))


def is_dense(array: Any, layout: Layout) -> bool:
    """Say whether the elements lie without gaps in the order of `layout`."""
    if layout == CONTIGUOUS or array.ndim < 3:
        return bool(array.flags.c_contiguous)
    return bool(memory_view(array, layout).flags.c_contiguous)


def layout_of(array: Any) -> Layout | None:
    """Return the layout of an array, or None for one with gaps or another order.

    What is C-contiguous counts as contiguous even where both layouts coincide (one channel, or one pixel).

    >>> import numpy as np
    >>> layout_of(np.zeros((2, 3, 4, 4))), layout_of(np.zeros((2, 4, 4, 3)).transpose(0, 3, 1, 2))
    ('contiguous', 'channels_last')
    """
    if array.flags.c_contiguous:
        return CONTIGUOUS
    if array.ndim >= 3 and is_dense(array, CHANNELS_LAST):
        return CHANNELS_LAST
    return None


def coalesce(sizes: Sequence[int], *strides: Sequence[int]) -> list[list[int]]:
    """Merge neighbouring axes that every operand walks as one, and drop axes of size 1.

    >>> coalesce((2, 3, 4), (12, 4, 1), (0, 0, 1))
    [[6, 4], [4, 1], [0, 1]]
    """
    merged: list[list[int]] = []  # one row per axis: its size, then each operand's stride
    for size, *steps in zip(sizes, *strides, strict=True):
        if size == 1:
            continue
        if merged and all(outer == step * size for outer, step in zip(merged[-1][1:], steps, strict=True)):
            merged[-1] = [merged[-1][0] * size, *steps]
        else:
            merged.append([size, *steps])
    if not merged:
        return [[] for _ in range(1 + len(strides))]
    return [list(column) for column in zip(*merged, strict=True)]
