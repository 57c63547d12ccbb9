"""Tensors of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, Device, layout_of
from gpunet.tensor.tensor import Tensor

__all__ = ["ones", "ones_like", "zeros", "zeros_like"]


def zeros(
    *size: int | Sequence[int],
    dtype: npt.DTypeLike = np.float32,
    device: str | Device = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of zeros; sizes may be given one by one, or as one sequence.

    Example:
        >>> zeros(2, 3).shape
        (2, 3)
    """
    return Tensor(_filled(0, _sizes(size), dtype, backend.device(device)), requires_grad)


def ones(
    *size: int | Sequence[int],
    dtype: npt.DTypeLike = np.float32,
    device: str | Device = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Make a tensor of ones; sizes may be given one by one, or as one sequence.

    Example:
        >>> ones(2)
        tensor([1., 1.])
    """
    return Tensor(_filled(1, _sizes(size), dtype, backend.device(device)), requires_grad)


def zeros_like(input: Tensor) -> Tensor:
    """Make a tensor of zeros with the shape, dtype, device and memory layout of another.

    Example:
        >>> zeros_like(ones(2))
        tensor([0., 0.])
    """
    return Tensor(_filled(0, input.shape, input.dtype, input.device, layout_of(input.array) or CONTIGUOUS))


def ones_like(input: Tensor) -> Tensor:
    """Make a tensor of ones with the shape, dtype, device and memory layout of another.

    Example:
        >>> ones_like(zeros(2))
        tensor([1., 1.])
    """
    return Tensor(_filled(1, input.shape, input.dtype, input.device, layout_of(input.array) or CONTIGUOUS))


def _sizes(size: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], Sequence) else size  # type: ignore[return-value]


def _filled(
    value: float, shape: tuple[int, ...], dtype: npt.DTypeLike, device: Device, layout: backend.Layout = CONTIGUOUS
) -> Array:
    be = backend.get(device)
    array = be.empty(shape, dtype, layout)
    be.fill(array, value)
    return array
