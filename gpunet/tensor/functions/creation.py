"""Tensors from data, and of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, Device, layout_of
from gpunet.backend.dtypes import is_float
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import arguments
from gpunet.tensor.tensor import Tensor

__all__ = ["from_numpy", "ones", "ones_like", "tensor", "zeros", "zeros_like"]


def tensor(
    data: Any, dtype: npt.DTypeLike | None = None, device: str | Device = "cpu", requires_grad: bool = False
) -> Tensor:
    """Make a tensor from numbers, nested lists, a NumPy array or a CPU tensor, always by copying.

    Args:
        data: Python floats become float32, ints int64; NumPy arrays and tensors keep their dtype.
        dtype: NumPy dtype to convert to.
        device: where the tensor shall live.
        requires_grad: ask for a gradient.

    Raises:
        DeviceError: there is no such device.
        DTypeError: the data are not real numbers, or do not fit the dtype.
        ShapeError: nested lists differ in length.

    Example:
        >>> tensor([[1.0, 2.0]]).shape
        (1, 2)
    """
    try:
        array = np.array(data, dtype)
    except (TypeError, OverflowError) as error:
        raise DTypeError(f"tensor: the data do not become {dtype or 'an array'}: {error}") from None
    except ValueError as error:
        raise ShapeError(
            f"tensor: the data are no array of numbers, or nested lists differ in length: {error}"
        ) from None
    _check_real("tensor", array.dtype)
    was_array = isinstance(data, np.ndarray | np.generic | Tensor)
    if dtype is None and array.dtype == np.float64 and not was_array:
        array = array.astype(np.float32)
    target = backend.get(backend.device(device))
    return Tensor(target.from_numpy(array), requires_grad)


def from_numpy(array: Array) -> Tensor:
    """Make a CPU tensor that shares the memory of a NumPy array.

    Example:
        >>> from_numpy(np.ones(3)).shape
        (3,)
    """
    if not isinstance(array, np.ndarray):  # a caller without a type checker
        raise DTypeError(f"from_numpy: expected a numpy.ndarray, got {type(array).__module__}.{type(array).__name__}")
    return Tensor(array)


def zeros(
    *size: int | Sequence[int],
    dtype: npt.DTypeLike = np.float32,
    device: str | Device = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of zeros; sizes may be given one by one, or as one sequence.

    Raises:
        TypeError: a size is no integer.
        ShapeError: a size is negative.
        DTypeError: the dtype is not one of real numbers.
        DeviceError: there is no such device.

    Example:
        >>> zeros(2, 3).shape
        (2, 3)
    """
    return Tensor(_filled("zeros", 0, size, dtype, device), requires_grad)


def ones(
    *size: int | Sequence[int],
    dtype: npt.DTypeLike = np.float32,
    device: str | Device = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of ones; sizes may be given one by one, or as one sequence. Raises what `zeros` does.

    Example:
        >>> ones(2)
        tensor([1., 1.])
    """
    return Tensor(_filled("ones", 1, size, dtype, device), requires_grad)


def zeros_like(input: Tensor) -> Tensor:
    """Make a tensor of zeros with the shape, dtype, device and memory layout of another.

    Example:
        >>> zeros_like(ones(2))
        tensor([0., 0.])
    """
    return _like(0, input)


def ones_like(input: Tensor) -> Tensor:
    """Make a tensor of ones with the shape, dtype, device and memory layout of another.

    Example:
        >>> ones_like(zeros(2))
        tensor([1., 1.])
    """
    return _like(1, input)


def _filled(op: str, value: float, size: tuple[Any, ...], dtype: npt.DTypeLike, device: str | Device) -> Array:
    given = size if len(size) != 1 or isinstance(size[0], int | np.integer) else size[0]
    shape = arguments.integers(op, "size", given)
    if min(shape, default=0) < 0:
        raise ShapeError(f"{op}: sizes must be >= 0, got {shape}")
    _check_real(op, np.dtype(dtype))
    return backend.get(backend.device(device)).full(shape, value, dtype)


def _like(value: float, input: Tensor) -> Tensor:
    layout = layout_of(input.array) or CONTIGUOUS
    return Tensor(backend.of(input.array).full(input.shape, value, input.dtype, layout))


def _check_real(op: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf" and not is_float(dtype):
        raise DTypeError(f"{op}: expected real numbers, got dtype {dtype}")
