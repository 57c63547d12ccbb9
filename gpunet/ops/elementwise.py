"""How the CPU shares work that is bound by memory, elementwise work above all.

Threads that meet between NumPy calls wait for each other: where a call takes less than 10 us, a second thread
does not pay, and pieces of 2^18 elements are faster than smaller ones that would fit the cache of a core.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, blas, layout_of, scratch
from gpunet.backend.layout import memory_view

__all__ = ["clip_at_zero", "elementwise", "pieces"]

_MOST = 1 << 18  # elements of a piece


def elementwise(be: Backend, work: Callable[..., object], *arrays: Array) -> None:
    """Call work on arrays of one shape, the first of them dense; our threads share flat pieces of large ones."""
    if arrays[0].size <= _MOST:
        work(*arrays)
        return
    layout = layout_of(arrays[0]) or CONTIGUOUS
    flat = [memory_view(be.dense(array, layout), layout).reshape(-1) for array in arrays]
    parts = pieces(arrays[0].size)
    blas.parallel(len(parts), lambda i: work(*(array[parts[i]] for array in flat)))


def pieces(count: int, elements: int = 1) -> list[slice]:
    """Cut a range of things, of so many elements each, into one piece or into an even number of about equal ones.

    >>> pieces(1000), pieces(10, 1 << 16)
    ([slice(0, 1000, None)], [slice(0, 3, None), slice(3, 6, None), slice(6, 9, None), slice(9, 10, None)])
    """
    size = count * elements
    number = 1 if size <= _MOST else 2 * -(-size // (2 * _MOST))
    step = max(1, -(-count // number))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def clip_at_zero(values: Array) -> None:
    """ReLU in place, row by row: with an array of zeros NumPy takes half the time that it takes with a number."""
    zeros = scratch.get("zeros", values.shape[1:], values.dtype)
    zeros.fill(0)
    np.maximum(values, zeros, out=values)
