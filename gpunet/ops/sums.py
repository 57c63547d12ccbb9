"""Sums and means over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.arithmetic import div
from gpunet.ops.base import Op, Out
from gpunet.ops.reduce import sum_axes

__all__ = ["axis_of", "mean", "sum"]


def axis_of(dim: int, ndim: int, name: str) -> int:
    """Return an axis counted from the front; a wrong one is an IndexError, as in PyTorch."""
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(
            f"{name}: dim is out of range.\n  expected {-max(ndim, 1)} to {max(ndim, 1) - 1} for {ndim} axes, got {dim}"
        )
    return dim % max(ndim, 1)


class Sum(Op):
    """Sum over axes, in an order that depends on the shape only.

        y = sum of x over the axes in dim

    Args:
        x: any shape, any float dtype.
        dim: an axis, or several; negative ones count from the end. None or () takes all.
        keepdim: keep the axes, with size 1.

    Returns:
        The shape without these axes, dtype of x, contiguous. What has no elements sums to 0.

    Raises:
        IndexError: an axis does not exist.
        ShapeError: an axis is named twice.
        DTypeError: x is not floating-point.

    Memory: 16-bit floats are summed in float32, on the CPU all in float64. The gradient is a view of gy; it needs the
        shape of x only, given as `input_size`.

    Example:
        >>> sum(np.ones((2, 3)), 1)
        array([3., 3.])
    """

    name, gradients, aliases = "sum", ("x",), True

    def bind(
        self,
        x: Array,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.__name__, x, input_size)
        one_or_more = arguments.integers if isinstance(dim, Sequence) else _single
        given = (() if dim is None else one_or_more(self.__name__, "dim", dim)) or tuple(range(len(size)))
        dims = tuple(sorted(axis_of(d, len(size), self.__name__) for d in given))
        if len(set(dims)) != len(dims):
            raise ShapeError(f"{self.__name__}: an axis is named twice.\n  expected different axes, got dim={given}")
        return (x,), {"dim": dims if size else (), "keepdim": bool(keepdim), "input_size": size}

    def infer(self, x: Array, dim: tuple[int, ...], keepdim: bool, input_size: tuple[int, ...]) -> tuple[Out]:
        self.require_floats(x=x)
        return (Out(_reduced(input_size, dim, keepdim), x.dtype),)

    def reference(self, be: Backend, y: Array, x: Array, **attrs: Any) -> None:
        with np.errstate(all="ignore"):  # the mean of nothing
            divisor = self.divisor(attrs["input_size"], attrs["dim"])
            y[...] = be.xp.sum(x, axis=attrs["dim"], dtype=np.float64, keepdims=attrs["keepdim"]) / divisor

    def cuda(self, be: KernelBackend, y: Array, x: Array, **attrs: Any) -> None:
        x = be.dense(x, layout_of(x) or CONTIGUOUS)
        axes = [(n, step // x.itemsize) for n, step in zip(x.shape, x.strides, strict=True)]
        kept = [axis for i, axis in enumerate(axes) if i not in attrs["dim"]]
        summed = [axes[i] for i in attrs["dim"]]
        sum_axes(be, y, x, kept, summed, self.divisor(attrs["input_size"], attrs["dim"]))

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Sequence[bool], into: Any = None
    ) -> tuple[Array | None]:
        """Spread gy over the axes that were summed: a view."""
        dim, size = attrs["dim"], attrs["input_size"]
        self.require_saved(_reduced(size, dim, attrs["keepdim"]), gy.dtype, gy=gy)
        if not needs[0]:
            return (None,)
        be, divisor = backend.of(gy), self.divisor(size, dim)
        gradient = be.dense(gy if divisor == 1 else div(gy, divisor), CONTIGUOUS)
        return (be.xp.broadcast_to(gradient.reshape(_reduced(size, dim, True)), size),)

    def divisor(self, size: tuple[int, ...], dim: tuple[int, ...]) -> int:
        """Return what the sum is divided by."""
        return 1


class Mean(Sum):
    """Mean over axes, in an order that depends on the shape only.

        y = sum of x over the axes in dim / number of summands

    Args:
        x: any shape, any float dtype.
        dim: an axis, or several; negative ones count from the end. None or () takes all.
        keepdim: keep the axes, with size 1.

    Returns:
        The shape without these axes, dtype of x, contiguous. The mean of nothing is NaN.

    Raises:
        IndexError: an axis does not exist.
        ShapeError: an axis is named twice.
        DTypeError: x is not floating-point.

    Memory: 16-bit floats are summed and divided in float32, on the CPU all in float64. The gradient is a view of a
        scaled gy; it needs the shape of x only, given as `input_size`.

    Example:
        >>> mean(np.array([[1.0, 2.0], [3.0, 6.0]]), 0)
        array([2., 4.])
    """

    name = "mean"

    def divisor(self, size: tuple[int, ...], dim: tuple[int, ...]) -> int:
        """Return the number of summands."""
        return math.prod(size[axis] for axis in dim)


def _single(op: str, name: str, value: Any) -> tuple[int, ...]:
    return (arguments.integer(op, name, value),)


def _reduced(size: tuple[int, ...], dim: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    return tuple(1 if i in dim else n for i, n in enumerate(size) if keepdim or i not in dim)


sum = Sum()
mean = Mean()
