"""How the CPU shares work that is bound by memory, elementwise work above all.

Threads that meet between NumPy calls wait for each other: where a call takes less than 10 us, a second thread
does not pay, and pieces of 2^18 elements are faster than smaller ones that would fit the cache of a core.
"""

from __future__ import annotations

from collections.abc import Callable

from gpunet.backend import CONTIGUOUS, Array, Backend, blas, layout_of
from gpunet.backend.layout import memory_view

__all__ = ["flat", "in_chunks", "pieces"]

_MOST = 1 << 18  # elements of a piece


def flat(be: Backend, *arrays: Array) -> list[Array]:
    """View arrays as one axis in memory order of the first, which is dense; the others are copied if need be."""
    layout = layout_of(arrays[0]) or CONTIGUOUS
    return [memory_view(be.dense(array, layout), layout).reshape(-1) for array in arrays]


def in_chunks(work: Callable[..., object], *arrays: Array) -> None:
    """Call work on pieces of flat arrays, shared by our threads."""
    if arrays[0].size <= _MOST:
        work(*arrays)
        return
    parts = pieces(arrays[0].size)
    blas.parallel(len(parts), lambda i: work(*(array[parts[i]] for array in arrays)))


def pieces(count: int, elements: int = 1) -> list[slice]:
    """Cut a range of things, of so many elements each, into one piece or into an even number of about equal ones.

    >>> pieces(1000), pieces(10, 1 << 16)
    ([slice(0, 1000, None)], [slice(0, 3, None), slice(3, 6, None), slice(6, 9, None), slice(9, 10, None)])
    """
    size = count * elements
    number = 1 if size <= _MOST else 2 * -(-size // (2 * _MOST))
    step = max(1, -(-count // number))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
