"""A strict stand-in for CuPy: arrays of an imaginary GPU, in host memory, computed by NumPy.

It refuses what CuPy refuses, so that code which runs here runs on CuPy: no implicit conversion to NumPy, no
mixing with host arrays, 0-d arrays from reductions, C-ordered results from elementwise functions, and
only names that exist in `cupy`. Uninitialised memory is poisoned, and guard bytes round every buffer
show a kernel that wrote outside.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import emulator
from gpunet.errors import KernelError

_ALIGNMENT = 256  # bytes, as far as any kernel may rely on; CuPy's pool gives 512
_GUARD = 0xA5
_POISON = 0xFF  # NaN in every float format
_Scalar = int | float | bool | np.generic

_libc = ctypes.CDLL(None) if emulator.unavailable() is None else None


class ndarray:
    """An array of the emulated device. Methods and their meaning are CuPy's."""

    __slots__ = ("__weakref__", "_host", "_owner")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: tuple[int, ...], dtype: Any = float) -> None:
        self._owner = _Memory(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
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
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: self.transpose())

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return repr(self._host).replace("array(", "emulated.array(", 1)

    # Ways to the host: only those that CuPy has.
    def get(self) -> npt.NDArray[Any]:
        """Copy to the host."""
        return self._host.copy(order="C")

    def item(self) -> Any:
        """Return the only element as a Python scalar."""
        return self._host.item()

    def __float__(self) -> float:
        return float(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # Views.
    def view(self, dtype: npt.DTypeLike) -> ndarray:
        """Reinterpret the elements as another dtype."""
        return self._view(self._host.view(dtype), self._owner)

    def transpose(self, *axes: Any) -> ndarray:
        """Permute the axes."""
        return self._view(self._host.transpose(*axes), self._owner)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        """Return a view of another shape, or a C-ordered copy where no view exists."""
        result = self._host.reshape(*shape, order=order)
        if np.shares_memory(result, self._host) or not result.size:
            return self._view(result, self._owner)
        return _wrap(result)

    def ravel(self) -> ndarray:
        """Flatten in C order."""
        return self.reshape(-1)

    def __getitem__(self, index: Any) -> ndarray:
        result = np.asarray(self._host[_unwrap(index, allow_scalars=True)])
        return self._view(result, self._owner) if np.shares_memory(result, self._host) else _wrap(result)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_unwrap(index, allow_scalars=True)] = _unwrap(value)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    # Copies.
    def copy(self) -> ndarray:
        """Copy, into C order."""
        return _wrap(self._host)

    def astype(self, dtype: npt.DTypeLike, copy: bool = True) -> ndarray:
        """Convert to another dtype."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return _wrap(self._host.astype(dtype))

    def fill(self, value: _Scalar) -> None:
        """Set every element."""
        self._host.fill(value)

    def set(self, array: npt.NDArray[Any]) -> None:
        """Copy from a host array of the same shape and dtype."""
        np.copyto(self._host, array, casting="no")

    # Reductions return arrays, 0-d ones too.
    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Sum over axes."""
        return sum(self, axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
        """Maximum over axes."""
        return max(self, axis=axis, out=out, keepdims=keepdims)

    def argmax(self, axis: Any = None) -> ndarray:
        """Index of the first maximum."""
        return argmax(self, axis=axis)


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


def host_view(array: ndarray) -> npt.NDArray[Any]:
    """Return the host memory behind an array, for the emulator that plays the device."""
    return array._host


def _wrap(host: Any) -> ndarray:
    """Move a NumPy result to device memory, in C order."""
    host = np.asarray(host)
    result = ndarray(host.shape, host.dtype)
    np.copyto(result._host, host)
    return result


def _unwrap(value: Any, allow_scalars: bool = True) -> Any:
    """Return the host side of arguments; host arrays are refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple):
        return tuple(_unwrap(item, allow_scalars) for item in value)
    return value


def _function(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the device's version of a NumPy function: strict arguments, C-ordered device result."""

    def call(*args: Any, out: ndarray | None = None, **kwargs: Any) -> ndarray:
        result = numpy_function(*map(_unwrap, args), **{key: _unwrap(value) for key, value in kwargs.items()})
        if out is None:
            return _wrap(result)
        if not isinstance(out, ndarray):
            raise TypeError(f"out must be a device array, got {type(out)}")
        np.copyto(out._host, result, casting="same_kind")
        return out

    call.__name__ = call.__qualname__ = numpy_function.__name__
    call.__doc__ = f"`cupy.{numpy_function.__name__}` on the emulated device."
    return call


# Elementwise functions.
add = _function(np.add)
subtract = _function(np.subtract)
multiply = _function(np.multiply)
true_divide = divide = _function(np.true_divide)
negative = _function(np.negative)
absolute = _function(np.absolute)
exp = _function(np.exp)
log = _function(np.log)
sqrt = _function(np.sqrt)
maximum = _function(np.maximum)
minimum = _function(np.minimum)
greater = _function(np.greater)
greater_equal = _function(np.greater_equal)
less = _function(np.less)
less_equal = _function(np.less_equal)
equal = _function(np.equal)
not_equal = _function(np.not_equal)
logical_and = _function(np.logical_and)
logical_or = _function(np.logical_or)
logical_not = _function(np.logical_not)
isnan = _function(np.isnan)
where = _function(np.where)

# Reductions and joins.
sum = _function(np.sum)
max = _function(np.max)
argmax = _function(np.argmax)
concatenate = _function(np.concatenate)
stack = _function(np.stack)
take_along_axis = _function(np.take_along_axis)


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    """`cupy.copyto` on the emulated device."""
    np.copyto(dst._host, _unwrap(src), casting=casting, where=True if where is None else _unwrap(where))


def broadcast_to(array: ndarray, shape: tuple[int, ...]) -> ndarray:
    """`cupy.broadcast_to` on the emulated device: a view with strides of 0."""
    return ndarray._view(np.broadcast_to(array._host, shape), array._owner)


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.empty` on the emulated device; the memory is poisoned."""
    return ndarray(tuple(shape) if isinstance(shape, tuple | list) else (shape,), dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> ndarray:
    """`cupy.full` on the emulated device."""
    return _wrap(np.full(shape, _unwrap(fill_value), dtype))


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.zeros` on the emulated device."""
    return _wrap(np.zeros(shape, dtype))


def ones(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.ones` on the emulated device."""
    return _wrap(np.ones(shape, dtype))


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    """`cupy.arange` on the emulated device."""
    return _wrap(np.arange(*([start] if stop is None else [start, stop, step]), dtype=dtype))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """`cupy.asarray`: move to the device."""
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    return _wrap(np.asarray(a, dtype))


def asnumpy(a: Any) -> npt.NDArray[Any]:
    """`cupy.asnumpy`: copy to the host."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def _operators() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the special methods of arithmetic and comparison."""
    symbols = {
        "add": add,
        "sub": subtract,
        "mul": multiply,
        "truediv": true_divide,
        "gt": greater,
        "ge": greater_equal,
        "lt": less,
        "le": less_equal,
        "eq": equal,
        "ne": not_equal,
        "and": logical_and,
        "or": logical_or,
    }
    for symbol, function in symbols.items():
        yield f"__{symbol}__", lambda self, other, function=function: function(self, other)
        if symbol in ("add", "sub", "mul", "truediv", "and", "or"):
            yield f"__r{symbol}__", lambda self, other, function=function: function(other, self)
            yield f"__i{symbol}__", lambda self, other, function=function: function(self, other, out=self)
    yield "__neg__", lambda self: negative(self)
    yield "__abs__", lambda self: absolute(self)
    yield "__invert__", lambda self: logical_not(self)


for _name, _method in _operators():
    setattr(ndarray, _name, _method)
