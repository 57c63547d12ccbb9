"""Arrays of the emulated device: host memory that behaves as CuPy's device memory does.

Uninitialised memory is poisoned, guard bytes round every buffer show a kernel that wrote outside, and
`transfers` counts every copy between host and device, the hidden ones too.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpunet import emulator
from gpunet.errors import KernelError

__all__ = ["argument", "check_guards", "host_view", "ndarray", "output", "reduce", "supported", "transfers", "wrap"]

_ALIGNMENT = 256  # bytes, as far as any kernel may rely on; CuPy's pool gives 512
_GUARD = 0xA5
_POISON = 0xFF  # NaN in every float format

_libc = ctypes.CDLL(None) if emulator.unavailable() is None else None

# "reads" wait for the device, "writes" go to it. Scalars travel as arguments of a kernel: they are no transfer.
transfers: Counter[str] = Counter()


class _Flags(NamedTuple):
    """What CuPy tells of an array's memory; NumPy's other flags are not there."""

    c_contiguous: bool
    f_contiguous: bool


class ndarray:
    """An array of the emulated device. Methods and their meaning are CuPy's."""

    __slots__ = ("__weakref__", "_host", "_owner")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        dtype = supported(dtype)
        self._owner = _Memory(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self._host = self._owner.bytes.view(dtype).reshape(shape)

    @classmethod
    def _view(cls, host: npt.NDArray[Any], owner: _Memory) -> ndarray:
        array = cls.__new__(cls)
        array._host, array._owner = host, owner
        return array

    # Facts.
    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: _Flags(self._host.flags.c_contiguous, self._host.flags.f_contiguous))
    T = property(lambda self: self.transpose())

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return repr(self._host).replace("array(", "emulated.array(", 1)

    # Ways to the host: only those that CuPy has.
    def get(self) -> npt.NDArray[Any]:
        """Copy to the host."""
        transfers["reads"] += 1
        return self._host.copy(order="C")

    def item(self) -> Any:
        """Return the only element as a Python scalar."""
        return self.get().item()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __array__(self, dtype: Any = None) -> npt.NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # Views.
    def view(self, dtype: npt.DTypeLike | None = None) -> ndarray:
        """Reinterpret the elements as another dtype."""
        return self._view(self._host.view(self.dtype if dtype is None else dtype), self._owner)

    def transpose(self, *axes: Any) -> ndarray:
        """Permute the axes."""
        return self._view(self._host.transpose(*axes), self._owner)

    def reshape(self, *shape: Any, order: Any = "C") -> ndarray:
        """Return a view of another shape, or a C-ordered copy where no view exists."""
        result = self._host.reshape(*shape, order=order)
        if np.shares_memory(result, self._host) or not result.size:
            return self._view(result, self._owner)
        return wrap(result)

    def ravel(self) -> ndarray:
        """Flatten in C order."""
        return self.reshape(-1)

    def __getitem__(self, slices: Any) -> ndarray:
        if _has_mask(slices):
            transfers["reads"] += 1  # how many elements are selected
        index = _index(slices)
        result = self._host[index]
        if not isinstance(result, np.ndarray):  # one element is a view, too
            result = self._host[(*index, ...) if isinstance(index, tuple) else (index, ...)]
        return self._view(result, self._owner) if np.shares_memory(result, self._host) else wrap(result)

    def __setitem__(self, slices: Any, value: Any) -> None:
        self._host[_index(slices)] = value._host if isinstance(value, ndarray) else _scalar_for(self, value)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    # Copies.
    def copy(self) -> ndarray:
        """Copy, into C order."""
        return wrap(self._host)

    def astype(
        self, dtype: npt.DTypeLike, order: Any = "K", casting: None = None, subok: None = None, copy: bool = True
    ) -> ndarray:
        """Convert to another dtype; by default the order of the axes in memory is kept."""
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        with np.errstate(all="ignore"):
            result = self._host.astype(supported(dtype), order=order, copy=copy)
        return self if result is self._host else wrap(result, keep_strides=True)

    def fill(self, value: Any) -> None:
        """Set every element to a scalar."""
        self._host[...] = value._host.reshape(()) if isinstance(value, ndarray) else _scalar_for(self, value)

    def set(self, arr: npt.NDArray[Any]) -> None:
        """Copy from a host array of the same shape and dtype."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not any(self.flags):
            raise RuntimeError("Cannot set to non-contiguous array")
        transfers["writes"] += 1
        self._host[...] = arr

    # Reductions return arrays, 0-d ones too.
    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Sum over axes."""
        return reduce(np.sum, self, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Maximum over axes."""
        return reduce(np.max, self, out, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None) -> ndarray:
        """Index of the first maximum."""
        return reduce(np.argmax, self, None, axis=axis)


class _Memory:
    """One device allocation: poisoned, aligned, and guarded on both sides.

    Under the address sanitizer it is an exact allocation instead, so that the sanitizer sees its end.
    """

    def __init__(self, nbytes: int) -> None:
        self._guards: tuple[npt.NDArray[np.uint8], ...] = ()
        if emulator.settings().mode == "asan":
            assert _libc is not None  # a mode can only be set where the emulator runs
            pointer = ctypes.c_void_p()
            if _libc.posix_memalign(ctypes.byref(pointer), _ALIGNMENT, ctypes.c_size_t(nbytes or 1)):
                raise MemoryError(f"no {nbytes} bytes left for the emulated device")
            weakref.finalize(self, _libc.free, pointer)
            self.bytes = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(pointer.value or 0))
        else:
            raw = np.empty(nbytes + 3 * _ALIGNMENT, np.uint8)
            start = _ALIGNMENT + -raw.ctypes.data % _ALIGNMENT
            self.bytes = raw[start : start + nbytes]
            self._guards = raw[start - 64 : start], raw[start + nbytes : start + nbytes + 64]
            for guard in self._guards:
                guard.fill(_GUARD)
        self.bytes.fill(_POISON)

    def written_outside(self) -> bool:
        """Say whether a guard byte changed."""
        return any(bool((guard != _GUARD).any()) for guard in self._guards)


def check_guards(kernel: str, arrays: list[ndarray]) -> None:
    """Raise KernelError if a launch wrote outside one of its arrays."""
    for array in arrays:
        if array._owner.written_outside():
            raise KernelError(f"{kernel}: wrote outside an array of shape {array.shape} {array.dtype}")


# Between host and device, for emulated_xp and the backend.


def supported(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype that CuPy arrays can have, or raise ValueError as it does."""
    found = np.dtype(dtype)
    if (found.char in "?bhilqBHILQefdFD" and found.isnative) or found.name == "bfloat16":
        return found
    raise ValueError(f"Unsupported dtype {found}")


def wrap(host: Any, keep_strides: bool = False) -> ndarray:
    """Move a NumPy result to device memory: in C order, or with the strides of a dense host array."""
    host = np.asarray(host)
    result = ndarray(host.shape, host.dtype)
    if keep_strides:
        result._host = np.ndarray(host.shape, host.dtype, result._owner.bytes.data, strides=host.strides)
    np.copyto(result._host, host)
    return result


def argument(value: Any) -> Any:
    """Return the host side of an operand: a device array, or a Python or NumPy scalar; CuPy refuses all else."""
    if isinstance(value, ndarray):
        return value._host
    if type(value) in (bool, int, float, complex) or isinstance(value, np.generic):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def host_view(array: Any) -> npt.NDArray[Any]:
    """Return the host memory behind an array; what is no device array, a scalar too, is refused."""
    if isinstance(array, ndarray):
        return array._host
    raise TypeError(f"expected a cupy.ndarray, got {type(array)}")


def _index(slices: Any) -> Any:
    """Return the host side of an index. CuPy would upload host arrays without a word: here they are refused."""
    if isinstance(slices, tuple):
        return tuple(map(_index, slices))
    if isinstance(slices, np.ndarray):
        raise TypeError(f"Unsupported type {type(slices)}")
    if isinstance(slices, list):
        transfers["writes"] += 1
    return slices._host if isinstance(slices, ndarray) else slices


def _has_mask(slices: Any) -> bool:
    return any(isinstance(s, ndarray) and s.dtype == bool for s in (slices if isinstance(slices, tuple) else (slices,)))


def _scalar_for(array: ndarray, value: Any) -> Any:
    """Return what may fill an array: a scalar, or a host array without axes."""
    scalar = np.asarray(value, array.dtype)
    if scalar.shape:
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    return scalar


def output(out: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return the host side of `out`, which must have exactly the result's shape."""
    if not isinstance(out, ndarray):
        raise TypeError("Output arguments type must be cupy.ndarray")
    if out.shape != shape:
        raise ValueError("Out shape is mismatched")
    return out._host


def reduce(function: Callable[..., Any], a: Any, out: Any, **settings: Any) -> ndarray:
    """Reduce an array; `out` takes the result whatever its dtype is."""
    with np.errstate(all="ignore"):
        result = np.asarray(function(host_view(a), **settings))
    if out is None:
        return wrap(result)
    np.copyto(output(out, result.shape), result, casting="unsafe")
    return out
