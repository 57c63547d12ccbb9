"""A strict stand-in for the module `cupy`: arrays of an imaginary GPU, in host memory, computed by NumPy.

It refuses what CuPy refuses, so that code which runs here runs on CuPy: no implicit conversion to NumPy, no
mixing with host arrays, 0-d arrays from reductions, C-ordered results, outputs of exactly the right shape, and
only names that exist in `cupy`, with its signatures (tests/backend/test_emulated_xp.py compares them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import emulated_array as _device
from gpunet.backend.emulated_array import ndarray


class _Ufunc:
    """The device's version of a NumPy ufunc of one output: strict arguments, C-ordered device result."""

    def __init__(self, function: np.ufunc) -> None:
        self._function = function
        self.__name__ = function.__name__
        self.nin, self.nout = function.nin, function.nout

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: Any = "same_kind") -> ndarray:
        if not self.nin <= len(args) <= self.nin + 1:
            raise TypeError(f"Wrong number of arguments for {self.__name__!r}: {self.nin}, and perhaps an output")
        if len(args) > self.nin:
            if out is not None:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            out = args[-1]
        hosts = [_device.argument(value) for value in args[: self.nin]]
        if dtype is not None:
            dtype = _device.supported(dtype)
        with np.errstate(all="ignore"):  # a GPU does not warn
            if out is None:
                return _device.wrap(self._function(*hosts, dtype=dtype, casting=casting))
            host = _device.output(out, np.broadcast_shapes(*map(np.shape, hosts), getattr(out, "shape", ())))
            self._function(*hosts, out=host, dtype=dtype, casting=casting)
        return out


# Elementwise functions.
add = _Ufunc(np.add)
subtract = _Ufunc(np.subtract)
multiply = _Ufunc(np.multiply)
true_divide = divide = _Ufunc(np.true_divide)
negative = _Ufunc(np.negative)
absolute = _Ufunc(np.absolute)
exp = _Ufunc(np.exp)
expm1 = _Ufunc(np.expm1)
log = _Ufunc(np.log)
log1p = _Ufunc(np.log1p)
sqrt = _Ufunc(np.sqrt)
tanh = _Ufunc(np.tanh)
maximum = _Ufunc(np.maximum)
minimum = _Ufunc(np.minimum)
fmin = _Ufunc(np.fmin)
greater = _Ufunc(np.greater)
greater_equal = _Ufunc(np.greater_equal)
less = _Ufunc(np.less)
less_equal = _Ufunc(np.less_equal)
equal = _Ufunc(np.equal)
not_equal = _Ufunc(np.not_equal)
logical_and = _Ufunc(np.logical_and)
logical_or = _Ufunc(np.logical_or)
logical_not = _Ufunc(np.logical_not)
bitwise_and = _Ufunc(np.bitwise_and)
bitwise_or = _Ufunc(np.bitwise_or)
invert = _Ufunc(np.invert)
isnan = _Ufunc(np.isnan)


def where(condition: ndarray, x: Any = None, y: Any = None) -> ndarray:
    """`cupy.where` on the emulated device; `nonzero` under the name of where is not offered."""
    if x is None or y is None:
        raise ValueError("Must provide both 'x' and 'y'.")
    return _device.wrap(np.where(_device.host_view(condition).astype(bool), _device.argument(x), _device.argument(y)))


# Reductions and joins.


def sum(a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """`cupy.sum` on the emulated device."""
    return _device.reduce(np.sum, a, out, axis=axis, dtype=dtype, keepdims=keepdims)


def max(a: ndarray, axis: Any = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """`cupy.max` on the emulated device."""
    return _device.reduce(np.max, a, out, axis=axis, keepdims=keepdims)


def argmax(a: ndarray, axis: Any = None) -> ndarray:
    """`cupy.argmax` on the emulated device."""
    return _device.reduce(np.argmax, a, None, axis=axis)


def concatenate(tup: Sequence[ndarray], axis: Any = 0) -> ndarray:
    """`cupy.concatenate` on the emulated device."""
    return _device.wrap(np.concatenate([_device.host_view(a) for a in tup], axis))


def stack(tup: Sequence[ndarray], axis: int = 0) -> ndarray:
    """`cupy.stack` on the emulated device."""
    return _device.wrap(np.stack([_device.host_view(a) for a in tup], axis))


def take_along_axis(a: ndarray, indices: ndarray, axis: Any) -> ndarray:
    """`cupy.take_along_axis` on the emulated device; an index out of range is an error, CuPy wraps it around."""
    return _device.wrap(np.take_along_axis(_device.host_view(a), _device.host_view(indices), axis))


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    """`cupy.copyto` on the emulated device; of host arrays it takes those of one element."""
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.reshape(())[()]
    mask: Any = True if where is None else _device.argument(where)
    np.copyto(_device.host_view(dst), _device.argument(src), casting=casting, where=mask)


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    """`cupy.broadcast_to` on the emulated device: a view with strides of 0."""
    return ndarray._view(np.broadcast_to(_device.host_view(array), shape), array._owner)


# Making arrays.


def empty(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.empty` on the emulated device; the memory is poisoned."""
    return ndarray(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> ndarray:
    """`cupy.full` on the emulated device."""
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.asarray(fill_value).dtype
    result = ndarray(shape, dtype)
    copyto(result, fill_value, casting="unsafe")
    return result


def zeros(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.zeros` on the emulated device."""
    return full(shape, 0, dtype)


def ones(shape: Any, dtype: Any = float) -> ndarray:
    """`cupy.ones` on the emulated device."""
    return full(shape, 1, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    """`cupy.arange` on the emulated device."""
    if dtype is None:
        dtype = float if any(np.dtype(type(value)).kind == "f" for value in (start, stop, step)) else int
    return _device.wrap(np.arange(*([start] if stop is None else [start, stop, step]), dtype=dtype))


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """`cupy.asarray`: move to the device; host memory in Fortran order stays so, all else becomes C-ordered."""
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    _device.transfers["writes"] += 1
    fortran = isinstance(a, np.ndarray) and a.flags.fnc
    return _device.wrap(np.asarray(a, dtype, order="F" if fortran else "C"), keep_strides=True)


def asnumpy(a: Any) -> npt.NDArray[Any]:
    """`cupy.asnumpy`: copy to the host."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def _operators() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the special methods of arithmetic and comparison."""
    arithmetic = {"add": add, "sub": subtract, "mul": multiply, "truediv": true_divide}
    bits = {"and": bitwise_and, "or": bitwise_or}
    compare = {"gt": greater, "ge": greater_equal, "lt": less, "le": less_equal, "eq": equal, "ne": not_equal}
    for symbol, function in {**arithmetic, **bits, **compare}.items():
        yield f"__{symbol}__", lambda self, other, function=function: function(self, other)
        if symbol not in compare:
            yield f"__r{symbol}__", lambda self, other, function=function: function(other, self)
            yield f"__i{symbol}__", lambda self, other, function=function: function(self, other, self)
    for symbol, function in {"neg": negative, "abs": absolute, "invert": invert}.items():
        yield f"__{symbol}__", lambda self, function=function: function(self)


for _name, _method in _operators():
    setattr(ndarray, _name, _method)
