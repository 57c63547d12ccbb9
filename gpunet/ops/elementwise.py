"""How the CPU shares elementwise work."""

from __future__ import annotations

from collections.abc import Callable

from gpunet.backend import CONTIGUOUS, Array, Backend, blas, layout_of
from gpunet.backend.layout import memory_view

__all__ = ["flat", "in_chunks"]

_CHUNK = 1 << 16  # elements


def flat(be: Backend, *arrays: Array) -> list[Array]:
    """View arrays as one axis in memory order of the first, which is dense; the others are copied if need be."""
    layout = layout_of(arrays[0]) or CONTIGUOUS
    return [memory_view(be.dense(array, layout), layout).reshape(-1) for array in arrays]


def in_chunks(work: Callable[..., object], *arrays: Array) -> None:
    """Call work on pieces of flat arrays that fit the cache, shared by our threads."""
    pieces = [slice(start, start + _CHUNK) for start in range(0, arrays[0].size, _CHUNK)]
    blas.parallel(len(pieces), lambda i: work(*(array[pieces[i]] for array in arrays)))
