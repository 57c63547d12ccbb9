"""Which implementation of an op computes, and in which type."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, Backend
from gpunet.backend.dtypes import is_half
from gpunet.ops.arguments import is_read_only

__all__ = ["Implementation", "compute", "is_plain", "quietly"]

Implementation = Callable[..., None]
_SMALL = 1 << 12  # elements: too few for a second thread, or for the pool
_PLAIN = np.dtype(np.float32), np.dtype(np.float64)


def _silence() -> tuple[contextvars.ContextVar[Any], Any] | None:
    """Return the context variable that `np.errstate` sets, and its value for no noise at all; None if it sets none.

    Setting it costs a tenth of `np.errstate`, which takes as long as a small sum does.
    """
    before = contextvars.copy_context()
    with np.errstate(all="ignore"):
        now = contextvars.copy_context()
    changed = [(variable, value) for variable, value in now.items() if before.get(variable) is not value]
    return changed[0] if len(changed) == 1 else None


_SILENCE = _silence()


def quietly(work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Call work; overflow and NaN make no noise in NumPy."""
    if _SILENCE is None:
        with np.errstate(all="ignore"):
            work(*args, **kwargs)
        return
    variable, value = _SILENCE
    before = variable.set(value)
    try:
        work(*args, **kwargs)
    finally:
        variable.reset(before)


def is_plain(*arrays: Any) -> bool:
    """Say whether arrays are of NumPy, small, of one shape and one dtype, float32 or float64; the first contiguous.

    Of such arrays an elementwise call is one NumPy call plus the allocation.
    """
    first = arrays[0]
    if type(first) is not np.ndarray or first.size > _SMALL or not first.flags.c_contiguous:
        return False
    shape, dtype = first.shape, first.dtype
    for other in arrays[1:]:
        if type(other) is not np.ndarray or other.shape != shape or other.dtype != dtype:
            return False
    return dtype in _PLAIN


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
    for array in arrays:
        if array is not None and array.itemsize == 2 and is_half(array.dtype):
            quietly(_compute_wide, implementation, be, written, arrays, attrs)
            return
    quietly(implementation, be, *arrays, **attrs)


def _compute_wide(
    implementation: Implementation,
    be: Backend,
    written: Sequence[Array | None],
    arrays: Sequence[Array | None],
    attrs: dict[str, Any],
) -> None:
    """Call an implementation with float32 copies of 16-bit floats; round what it has written."""
    wide: list[Any] = [a.astype(np.float32) if a is not None and is_half(a.dtype) else a for a in arrays]
    implementation(be, *wide, **attrs)
    for array, result in zip(arrays, wide, strict=True):
        if array is None or array is result or is_read_only(array):  # what an op changes, it refused if read-only
            continue
        if any(array is target for target in written):
            array[...] = result.astype(array.dtype)
