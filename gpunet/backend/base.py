"""What every backend offers: arrays in a chosen layout, transfers, and kernels where it has them."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy.typing as npt

from gpunet.backend.device import Device
from gpunet.backend.layout import CONTIGUOUS, Layout, from_memory_view, is_dense, memory_order

__all__ = ["Array", "Backend"]

Array = Any  # numpy.ndarray, cupy.ndarray or the emulated ndarray: one type per backend


class Backend(abc.ABC):
    """One device and the array library that serves it.

    Ops allocate with `empty`, resolve strides with `dense`, and either compute through `xp` or `launch`
    kernels (see `KernelBackend`). Nothing here waits for the device except `to_numpy` and `synchronize`.
    """

    name: ClassVar[str]
    uses_kernels: ClassVar[bool] = False
    xp: Any
    device: Device

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike, layout: Layout = CONTIGUOUS) -> Array:
        """Return an uninitialised array of `shape` whose memory has the given layout."""
        if layout == CONTIGUOUS or len(shape) < 3:
            return self._allocate(shape, dtype)
        order = memory_order(len(shape), layout)
        memory = self._allocate(tuple(shape[axis] for axis in order), dtype)
        return from_memory_view(memory, layout)

    def full(self, shape: tuple[int, ...], value: float, dtype: npt.DTypeLike, layout: Layout = CONTIGUOUS) -> Array:
        """Return an array with one value in every element."""
        array = self.empty(shape, dtype, layout)
        self.fill(array, value)
        return array

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike, layout: Layout = CONTIGUOUS) -> Array:
        """Return an array of zeros."""
        return self.full(shape, 0, dtype, layout)

    def dense(self, array: Array, layout: Layout, alignment: int = 1) -> Array:
        """Return the array itself where its memory already has `layout`, else a copy that has.

        This is the only place where strides are resolved: negative, zero and misaligned ones too. Kernels that read
        many elements at once ask for an `alignment` in bytes.
        """
        if is_dense(array, layout) and self._is_aligned(array, alignment):
            return array
        copy = self.empty(array.shape, array.dtype, layout)
        self.copy(copy, array)
        return copy

    def rows(self, array: Array, alignment: int) -> Array:
        """Return the array itself where it `has_rows`, else one without gaps between rows, aligned too."""
        return array if self.has_rows(array, alignment) else self.dense(array, CONTIGUOUS, alignment)

    def has_rows(self, array: Array, alignment: int) -> bool:
        """Say whether the last axis has no gaps between elements, and such rows begin at multiples of so many bytes."""
        steps = (step for n, step in zip(array.shape[:-1], array.strides[:-1], strict=True) if n > 1)
        whole = array.strides[-1] == array.itemsize and not any(step % alignment for step in steps)
        return whole and self._is_aligned(array, alignment)

    @contextlib.contextmanager
    def dense_output(self, out: Array | None, layout: Layout) -> Iterator[Any]:
        """Give `out` itself where its memory has `layout`, else memory that is copied to it at the end."""
        if out is None or is_dense(out, layout):
            yield out
        else:
            work = self.empty(out.shape, out.dtype, layout)
            yield work
            self.copy(out, work)

    def current(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which what `xp` allocates lies on this device: CuPy has several, one of them current."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def _allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Return an uninitialised C-contiguous array."""

    @abc.abstractmethod
    def _is_aligned(self, array: Array, alignment: int = 1) -> bool:
        """Say whether the first element's address is a multiple of the element size, and of `alignment`."""

    @abc.abstractmethod
    def copy(self, out: Array, array: Array) -> None:
        """Copy `array` into `out`: equal shape and dtype, any strides of both."""

    @abc.abstractmethod
    def fill(self, out: Array, value: float) -> None:
        """Set every element of a dense array."""

    @abc.abstractmethod
    def from_numpy(self, array: npt.NDArray[Any]) -> Array:
        """Move a NumPy array to the device; on the CPU the result shares memory with it."""

    @abc.abstractmethod
    def to_numpy(self, array: Array) -> npt.NDArray[Any]:
        """Copy an array to the host, after every launch before it; on the CPU it is the array itself."""

    @abc.abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done everything it was given."""
