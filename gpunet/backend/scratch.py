"""Scratch memory on the CPU: buffers of one thread that blocks and calls reuse, so that they stay in its cache."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import pool

__all__ = ["get"]

_MOST_BYTES = 1 << 23  # of a buffer that is kept; larger ones go back to the pool after use


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.by_name: dict[str, npt.NDArray[np.uint8]] = {}


_buffers = _Buffers()


def get(name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an uninitialised C-contiguous array: in one thread, the same memory for the same name.

    It is overwritten by the next use of the name, so nothing that is returned to a caller may lie in it.

    >>> get("doctest", (4,), "float64").ctypes.data == get("doctest", (2, 3), "float32").ctypes.data
    True
    """
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    if nbytes > _MOST_BYTES:
        return pool.allocate(shape, kind)
    buffer = _buffers.by_name.get(name)
    if buffer is None or buffer.nbytes < nbytes:
        _buffers.by_name[name] = buffer = pool.allocate((nbytes,), np.uint8)
    return np.ndarray(tuple(shape), kind, buffer)
