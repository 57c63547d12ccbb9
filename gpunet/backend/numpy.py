"""The CPU backend: NumPy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import blas, pool
from gpunet.backend.base import Backend
from gpunet.backend.device import Device
from gpunet.backend.layout import CONTIGUOUS, Layout

__all__ = ["NumpyBackend"]

_SHARED_BYTES, _SHARES = 1 << 20, 8  # from which size on threads share a copy, in so many parts


class NumpyBackend(Backend):
    """NumPy on the host; ops run their `cpu` or `reference` implementation."""

    name = "numpy"
    xp = np
    device = Device("cpu")

    _allocate = staticmethod(pool.allocate)

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike, layout: Layout = CONTIGUOUS) -> npt.NDArray[Any]:
        """Return an uninitialised array; a small one by the shortest way, which is what a small op waits for."""
        if layout == CONTIGUOUS and math.prod(shape) < pool.FEWEST:
            return np.empty(shape, dtype)
        return super().empty(shape, dtype, layout)

    def _is_aligned(self, array: npt.NDArray[Any], alignment: int = 1) -> bool:
        return array.flags.aligned and (alignment == 1 or array.ctypes.data % alignment == 0)

    def copy(self, out: npt.NDArray[Any], array: npt.NDArray[Any]) -> None:
        """Copy, strides as they are; threads share what is large."""
        images = len(out) if out.ndim > 1 and out.nbytes >= _SHARED_BYTES else 1
        if images == 1 or np.may_share_memory(out, array):  # NumPy copes with overlap, in one call
            np.copyto(out, array, casting="no")
            return
        step = -(-images // _SHARES)
        parts = [slice(first, first + step) for first in range(0, images, step)]
        blas.parallel(len(parts), lambda i: np.copyto(out[parts[i]], array[parts[i]], casting="no"))

    def fill(self, out: npt.NDArray[Any], value: float) -> None:
        """Set every element."""
        out.fill(value)

    def from_numpy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array itself."""
        return array

    def to_numpy(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array itself."""
        return array

    def synchronize(self) -> None:
        """Nothing runs in the background here."""
