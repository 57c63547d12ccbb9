"""Which implementation of an op computes, and in which type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, Backend
from gpunet.backend.dtypes import is_half
from gpunet.ops.arguments import is_read_only

__all__ = ["Implementation", "compute"]

Implementation = Callable[..., None]


def compute(
    be: Backend,
    cpu: Implementation | None,
    cuda: Implementation | None,
    reference: Implementation,
    written: Sequence[Array | None],
    arrays: Sequence[Array | None],
    attrs: dict[str, Any],
) -> None:
    """Call the backend's own implementation if there is one, else the reference.

    Kernels read and write 16-bit floats themselves. All others get float32 copies of such arrays, and those of them
    that are `written` are rounded once at the end. Overflow and NaN make no noise in NumPy either.
    """
    if be.uses_kernels and cuda:
        cuda(be, *arrays, **attrs)
        return
    implementation = (None if be.uses_kernels else cpu) or reference
    with np.errstate(all="ignore"):
        if not any(a is not None and a.dtype.itemsize == 2 and is_half(a.dtype) for a in arrays):
            implementation(be, *arrays, **attrs)
            return
        wide: list[Any] = [a.astype(np.float32) if a is not None and is_half(a.dtype) else a for a in arrays]
        implementation(be, *wide, **attrs)
        for array, result in zip(arrays, wide, strict=True):
            if array is None or array is result or is_read_only(array):  # what an op changes, it refused if read-only
                continue
            if any(array is target for target in written):
                array[...] = result.astype(array.dtype)
