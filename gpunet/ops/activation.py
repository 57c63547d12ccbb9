"""Activations: elementwise functions of one input."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.kernel_backend import KernelBackend, vector_blocks
from gpunet.ops.base import Op, Out, like
from gpunet.ops.compute import Implementation
from gpunet.ops.elementwise import elementwise

__all__ = ["elu", "leaky_relu", "relu", "sigmoid", "tanh"]


class Activation(Op):
    """Base of elementwise functions y = f(x): a subclass is two formulas, and two kernels that say the same.

    Attributes:
        formula: (xp, y, x, **settings) fills y with f(x).
        gradient: (xp, gx, gy, saved, **settings) fills gx with gy * f'(x), from what `saves` names: x or y.

    The kernels `<name>_forward` and `<name>_backward` take the settings in the order of `bind`.
    """

    gradients, elementwise = ("x",), True
    formula: Implementation
    gradient: Implementation

    def bind(self, x: Array) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {}

    def infer(self, x: Array, **settings: float) -> tuple[Out]:
        self.require_floats(x=x)
        return (like(x),)

    def reference(self, be: Backend, y: Array, x: Array, **settings: float) -> None:
        self.formula(be.xp, y, x, **settings)

    def cpu(self, be: Backend, y: Array, x: Array, **settings: float) -> None:
        elementwise(be, partial(self.formula, np, **settings), y, x)

    def cuda(self, be: KernelBackend, y: Array, x: Array, **settings: float) -> None:
        self._launch(be, "forward", y, x, **settings)

    def infer_grad(self, gy: Array, saved: Array, **settings: float) -> tuple[Out]:
        self.require_floats(**{self.saves[0]: saved})
        self.require_saved(saved.shape, saved.dtype, gy=gy)
        return (like(saved),)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, saved: Array, **settings: float) -> None:
        self.gradient(be.xp, gx, gy, saved, **settings)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, saved: Array, **settings: float) -> None:
        elementwise(be, partial(self.gradient, np, **settings), gx, gy, saved)

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, saved: Array, **settings: float) -> None:
        self._launch(be, "backward", gx, gy, saved, **settings)

    def _launch(self, be: KernelBackend, direction: str, out: Array, *inputs: Array, **settings: float) -> None:
        dense = [be.dense(array, layout_of(out) or CONTIGUOUS) for array in inputs]
        args = (out, *dense, *settings.values(), out.size)
        be.launch("activation.cu", f"{self.name}_{direction}", vector_blocks(out), 256, args, REAL=out.dtype)


class ReLU(Activation):
    """Rectified linear unit, elementwise.

        y = max(x, 0)

    NaN passes through. The gradient is gy where y > 0, else 0; in particular it is 0 at x = 0.

    Args:
        x: any shape, any float dtype.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient reads y, not x.
    Source: Nair and Hinton 2010.

    Example:
        >>> relu(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """

    name, saves = "relu", ("y",)

    def formula(self, xp: Any, y: Array, x: Array) -> None:
        xp.maximum(x, 0, out=y)

    def gradient(self, xp: Any, gx: Array, gy: Array, y: Array) -> None:
        gx[...] = xp.where(y <= 0, 0, gy)

    def cpu(self, be: Backend, y: Array, x: Array, **settings: float) -> None:
        elementwise(be, _larger_than_zero, y, x)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, saved: Array, **settings: float) -> None:
        elementwise(be, _keep_where_positive, gx, gy, saved)


class Sigmoid(Activation):
    """Logistic function, elementwise: from 0 to 1, with its steepest slope, 1/4, at x = 0.

        y = 1 / (1 + exp(-x)),  gx = gy * (1 - y) * y

    Args:
        x: any shape, any float dtype.

    Returns:
        Shape, dtype and layout of x. Nothing overflows, whatever x is.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient reads y, not x.

    Example:
        >>> sigmoid(np.array([-1e4, 0.0, 1e4]))
        array([0. , 0.5, 1. ])
    """

    name, saves = "sigmoid", ("y",)

    def formula(self, xp: Any, y: Array, x: Array) -> None:
        xp.exp(xp.minimum(x, 0, out=y), out=y)  # the formula, times exp(x) / exp(x) where x < 0
        xp.true_divide(y, 1 + xp.exp(-abs(x)), out=y)

    def gradient(self, xp: Any, gx: Array, gy: Array, y: Array) -> None:
        xp.multiply(gy, (1 - y) * y, out=gx)


class Tanh(Activation):
    """Hyperbolic tangent, elementwise: from -1 to 1, with its steepest slope, 1, at x = 0.

        y = tanh(x),  gx = gy * (1 - y**2)

    Args:
        x: any shape, any float dtype.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient reads y, not x.

    Example:
        >>> tanh(np.array([-1e4, 0.0, 1e4]))
        array([-1.,  0.,  1.])
    """

    name, saves = "tanh", ("y",)

    def formula(self, xp: Any, y: Array, x: Array) -> None:
        xp.tanh(x, out=y)

    def gradient(self, xp: Any, gx: Array, gy: Array, y: Array) -> None:
        xp.multiply(gy, 1 - y * y, out=gx)


class ELU(Activation):
    """Exponential linear unit, elementwise.

        y = x where x > 0, else alpha * (exp(x) - 1)
        gx = gy where x > 0, else gy * alpha * exp(x)

    Args:
        x: any shape, any float dtype.
        alpha: -alpha is what y tends to for very negative x; of any sign.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient reads x: y does not tell the side of a negative alpha, and has lost digits near -alpha.
    Source: Clevert et al. 2016.

    Example:
        >>> elu(np.array([-1e4, 0.0, 2.0]))
        array([-1.,  0.,  2.])
    """

    name, saves = "elu", ("x",)

    def bind(self, x: Array, alpha: float = 1.0) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {"alpha": float(alpha)}

    def formula(self, xp: Any, y: Array, x: Array, alpha: float) -> None:
        xp.expm1(xp.minimum(x, 0, out=y), out=y)
        xp.add(alpha * y, xp.maximum(x, 0), out=y)

    def gradient(self, xp: Any, gx: Array, gy: Array, x: Array, alpha: float) -> None:
        bent = (x <= 0).astype(x.dtype)  # arithmetic with 0 and 1: NumPy's `where` takes five times as long
        xp.exp(xp.fmin(x, 0, out=gx), out=gx)
        gx *= alpha * bent
        gx += 1 - bent
        gx *= gy


class LeakyReLU(Activation):
    """Rectified linear unit that leaks where x is negative, elementwise.

        y = x where x > 0, else negative_slope * x

    Args:
        x: any shape, any float dtype.
        negative_slope: of any sign. At x = 0 the gradient is negative_slope * gy.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient reads x, since y does not tell the side when the slope is negative.
    Source: Maas et al. 2013.

    Example:
        >>> leaky_relu(np.array([-1.0, 0.0, 2.0]))
        array([-0.01,  0.  ,  2.  ])
    """

    name, saves = "leaky_relu", ("x",)

    def bind(self, x: Array, negative_slope: float = 0.01) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {"negative_slope": float(negative_slope)}

    def formula(self, xp: Any, y: Array, x: Array, negative_slope: float) -> None:
        xp.minimum(x, 0, out=y)
        xp.add(negative_slope * y, xp.maximum(x, 0), out=y)

    def gradient(self, xp: Any, gx: Array, gy: Array, x: Array, negative_slope: float) -> None:
        kept = (x > 0).astype(x.dtype)  # arithmetic with 0 and 1: NumPy's `where` takes five times as long
        xp.multiply(1 - kept, negative_slope, out=gx)
        gx += kept
        gx *= gy


def _larger_than_zero(y: Array, x: Array) -> None:
    """y = max(x, 0): with an array of zeros NumPy takes half the time that it takes with a number."""
    y.fill(0)
    np.maximum(x, y, out=y)


def _keep_where_positive(gx: Array, gy: Array, y: Array) -> None:
    """gx = 0 where y <= 0, else gy: by clearing bits, because assignment through a mask is ten times slower."""
    bits = np.dtype(f"i{gy.itemsize}")
    keep = gx.view(bits)
    np.less_equal(y, 0, out=keep)
    keep -= 1
    np.bitwise_and(gy.view(bits), keep, out=keep)


relu = ReLU()
sigmoid = Sigmoid()
tanh = Tanh()
elu = ELU()
leaky_relu = LeakyReLU()
