"""Softmax and its logarithm along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out, like
from gpunet.ops.compute import Implementation
from gpunet.ops.rows import Rows

__all__ = ["log_softmax", "softmax"]


class AlongAxis(Op):
    """Base of functions of the rows along one axis: a subclass is two formulas, and two kernels that say the same.

    Attributes:
        formula: (xp, y, x, axis) fills y.
        gradient: (xp, gx, gy, y, axis) fills gx.

    The kernels are `<name>_forward` and `<name>_backward`.
    """

    saves, gradients = ("y",), ("x",)
    formula: Implementation
    gradient: Implementation

    def bind(self, x: Array, dim: int) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {"dim": arguments.integer(self.name, "dim", dim)}

    def infer(self, x: Array, dim: int) -> tuple[Out]:
        self.require_floats(x=x)
        axes = max(x.ndim, 1)
        if not -axes <= dim < axes:
            raise self.error(IndexError, "there is no such axis.", expected=f"{-axes} <= dim < {axes}, got {dim}", x=x)
        return (like(x),)

    def reference(self, be: Backend, y: Array, x: Array, dim: int) -> None:
        if y.size:
            self.formula(be.xp, y, x, axis=dim)

    def cpu(self, be: Backend, y: Array, x: Array, dim: int) -> None:
        _in_chunks(be, self.formula, dim, y, x)

    def cuda(self, be: KernelBackend, y: Array, x: Array, dim: int) -> None:
        self._launch(be, "forward", dim, y, x)

    def infer_grad(self, gy: Array, y: Array, dim: int) -> tuple[Out]:
        (out,) = self.infer(y, dim)
        self.require_saved(y.shape, y.dtype, gy=gy)
        return (out,)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, y: Array, dim: int) -> None:
        self.gradient(be.xp, gx, gy, y, axis=dim)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, y: Array, dim: int) -> None:
        _in_chunks(be, self.gradient, dim, gx, gy, y)

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, y: Array, dim: int) -> None:
        self._launch(be, "backward", dim, gx, gy, y)

    def _launch(self, be: KernelBackend, direction: str, dim: int, out: Array, *inputs: Array) -> None:
        if not out.size:
            return
        layout = layout_of(out) or CONTIGUOUS
        grid, block, fields = Rows(out.shape, dim, layout).launch_sizes(out.dtype)
        rows = be.struct("softmax.cu", "Rows", **fields)
        args = (out, *(be.dense(array, layout) for array in inputs), rows)
        be.launch("softmax.cu", f"{self.name}_{direction}", grid, block, args, REAL=out.dtype)


class Softmax(AlongAxis):
    """Numbers to probabilities: positive, with the sum 1 along one axis.

        y = exp(x) / sum(exp(x)),  gx = y * (gy - sum(gy * y)),  sums along dim

    The largest x is taken off first, so nothing overflows. A row with NaN or +infinity is NaN, and so is one of
    -infinity alone.

    Args:
        x: any shape, any float dtype.
        dim: the axis, counted from the end if negative.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        IndexError: x has no such axis.
        DTypeError: x is not floating-point.

    Memory: the gradient reads y, not x.

    Example:
        >>> softmax(np.array([[0.0, 0.0], [1e4, -1e4]]), 1)
        array([[0.5, 0.5],
               [1. , 0. ]])
    """

    name = "softmax"

    def formula(self, xp: Any, y: Array, x: Array, axis: int) -> None:
        xp.exp(x - xp.max(x, axis=axis, keepdims=True), out=y)
        y /= xp.sum(y, axis=axis, keepdims=True)

    def gradient(self, xp: Any, gx: Array, gy: Array, y: Array, axis: int) -> None:
        xp.multiply(y, gy - xp.sum(gy * y, axis=axis, keepdims=True), out=gx)


class LogSoftmax(AlongAxis):
    """Logarithm of softmax, exact where a probability is too small for its dtype.

        y = x - log(sum(exp(x))),  gx = gy - exp(y) * sum(gy),  sums along dim

    The largest x is taken off first, so nothing overflows. A row with NaN or +infinity is NaN, and so is one of
    -infinity alone.

    Args:
        x: any shape, any float dtype.
        dim: the axis, counted from the end if negative.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        IndexError: x has no such axis.
        DTypeError: x is not floating-point.

    Memory: the gradient reads y, not x.

    Example:
        >>> log_softmax(np.array([[0.0, 0.0], [1e4, -1e4]]), 1).round(4)
        array([[-6.931e-01, -6.931e-01],
               [ 0.000e+00, -2.000e+04]])
    """

    name = "log_softmax"

    def formula(self, xp: Any, y: Array, x: Array, axis: int) -> None:
        xp.subtract(x, xp.max(x, axis=axis, keepdims=True), out=y)
        y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))

    def gradient(self, xp: Any, gx: Array, gy: Array, y: Array, axis: int) -> None:
        xp.subtract(gy, xp.exp(y) * xp.sum(gy, axis=axis, keepdims=True), out=gx)


def _in_chunks(be: Backend, formula: Implementation, dim: int, *arrays: Array) -> None:
    """Call a formula on pieces of whole rows that fit the cache, shared by threads; the first array is dense."""
    layout = layout_of(arrays[0]) or CONTIGUOUS
    rows = Rows(arrays[0].shape, dim, layout)
    views = [rows.view(be.dense(array, layout)) for array in arrays]
    rows.in_chunks(lambda *pieces: formula(np, *pieces, axis=1), *views)


softmax = Softmax()
log_softmax = LogSoftmax()
