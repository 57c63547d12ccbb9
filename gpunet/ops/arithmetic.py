"""Arithmetic with broadcasting: add, sub, mul, div, neg."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.kernel_backend import KernelBackend, vector_blocks
from gpunet.backend.layout import coalesce, memory_view
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out, like
from gpunet.ops.elementwise import elementwise, pieces
from gpunet.ops.reduce import sum_to_size

__all__ = ["add", "div", "mul", "neg", "sub"]

Number = int | float | np.integer | np.floating
Sizes = tuple[tuple[int, ...] | None, ...]


class Arithmetic(Op):
    """Base of the ops on two operands that broadcast; each is an array or a number, at least one of them an array.

    Attributes:
        ufunc: name of the function in NumPy and CuPy.
        pull_x, pull_y: (gy, *saved, number) -> gradient of an operand in the shape of gy.

    The kernel is `<name>_forward`.
    """

    inputs, optional, outputs, gradients = ("x", "y"), ("x", "y"), ("z",), ("x", "y")
    elementwise = True
    ufunc: ClassVar[str]
    pull_x: Callable[..., Array]
    pull_y: Callable[..., Array]

    def bind(
        self, x: Array | Number, y: Array | Number, *, number: float | None = None, sizes: Sizes | None = None
    ) -> tuple[tuple[Array | None, Array | None], dict[str, Any]]:
        if x is None and y is None and sizes is None:
            raise arguments.missing(self.name, "sizes", "the shapes of x and y, None for a number")
        if isinstance(x, Number):
            number, x = float(x), None
        if isinstance(y, Number):
            number, y = float(y), None
        if sizes:
            sizes = tuple([None if size is None else tuple(size) for size in sizes])
        else:
            sizes = (None if x is None else getattr(x, "shape", ()), None if y is None else getattr(y, "shape", ()))
        return (x, y), {"number": number, "sizes": sizes}

    def infer(self, x: Array | None, y: Array | None, number: float | None, sizes: Sizes) -> tuple[Out]:
        self.require_floats(x=x, y=y)
        if number is None and (x is None or y is None):
            raise self.error(DTypeError, "an operand is None.", expected="an array or a number", x=x, y=y)
        shape = self.broadcast_shape(sizes, x=x, y=y)
        arrays = [array for array in (x, y) if array is not None]
        for array in arrays:
            if array.shape == shape:
                return (like(array),)
        return (Out(shape, arrays[0].dtype),)

    def broadcast_shape(self, sizes: Sizes, **arrays: Any) -> tuple[int, ...]:
        try:
            return _broadcast_shape(sizes)
        except ValueError:
            expected = "axes, counted from the last, that are equal or 1"
            raise self.error(ShapeError, "the shapes do not broadcast.", expected=expected, **arrays) from None

    def reference(self, be: Backend, z: Array, x: Any, y: Any, number: float | None, sizes: Sizes) -> None:
        getattr(be.xp, self.ufunc)(number if x is None else x, number if y is None else y, out=z)

    def cpu(self, be: Backend, z: Array, x: Any, y: Any, number: float | None, sizes: Sizes) -> None:
        if len(pieces(z.size)) < 2 or any(size not in (None, z.shape) for size in sizes):
            self.reference(be, z, x, y, number, sizes)
            return

        def work(z: Array, first: Array, second: Array | None = None) -> None:
            left, right = (number, first) if x is None else (first, number if y is None else second)
            getattr(np, self.ufunc)(left, right, out=z)

        elementwise(be, work, z, *[operand for operand in (x, y) if operand is not None])

    def cuda(self, be: KernelBackend, z: Array, x: Any, y: Any, number: float | None, sizes: Sizes) -> None:
        operands, axes = walk(be, z, x, y)
        args = (z, *operands, *axes, 0.0 if number is None else number, z.size)
        be.launch("arithmetic.cu", f"{self.name}_forward", vector_blocks(z), 256, args, REAL=z.dtype)

    def run_grad(
        self, gy: Array, saved: Sequence[Any], attrs: dict[str, Any], needs: Sequence[bool], into: Any = None
    ) -> tuple[Array | None, ...]:
        """Return the gradients that are needed, summed over the axes along which an operand was broadcast."""
        self.require_saved(self.broadcast_shape(attrs["sizes"]), gy.dtype, gy=gy)
        gradients: list[Array | None] = []
        for pull, size, needed in zip((self.pull_x, self.pull_y), attrs["sizes"], needs, strict=True):
            gradient = pull(gy, *saved, number=attrs["number"]) if needed else None
            if gradient is not None and gradient.shape != size:
                (gradient,) = sum_to_size.run((gradient,), {"size": size})
            gradients.append(gradient)
        return tuple(gradients)

    def bound(self, x: Array, y: Array | Number) -> Array:
        """Return the output of a call whose arguments need no `bind`, as in gradients."""
        number, array, size = (y, None, None) if isinstance(y, Number) else (None, y, y.shape)
        return self.run((x, array), {"number": number, "sizes": (x.shape, size)})[0]


@functools.lru_cache
def _broadcast_shape(sizes: Sizes) -> tuple[int, ...]:
    return np.broadcast_shapes(*[size for size in sizes if size is not None])


def walk(be: KernelBackend, z: Array, *operands: Array | None) -> tuple[list[Array | None], list[Any]]:
    """Return dense operands, and for each of them the struct that walks it in memory order of dense z."""
    layout = layout_of(z) or CONTIGUOUS
    dense = [None if a is None else be.dense(a, layout_of(a) or CONTIGUOUS) for a in operands]
    strides = [
        [step // a.itemsize for step in memory_view(be.xp.broadcast_to(a, z.shape), layout).strides]
        for a in dense
        if a is not None
    ]
    sizes, *walks = coalesce(memory_view(z, layout).shape, *strides)
    left = iter(walks)
    return dense, [be.axes([], []) if a is None else be.axes(sizes, next(left)) for a in dense]


class Add(Arithmetic):
    """Sum, with broadcasting.

        z = x + y

    Args:
        x: any shape, any float dtype; or a number.
        y: a shape that broadcasts with that of x, dtype of x; or a number.

    Returns:
        The broadcast shape; dtype of the arrays; layout of the first input that has this shape.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient is gy itself, or its sum over broadcast axes; it needs neither input, only their shapes, given
        as `sizes`, with None for a number.

    Example:
        >>> add(np.ones((2, 3)), np.arange(3.0))
        array([[1., 2., 3.],
               [1., 2., 3.]])
    """

    name, ufunc, aliases = "add", "add", True

    def pull_x(self, gy: Array, *, number: float | None) -> Array:
        return gy

    pull_y = pull_x


class Sub(Arithmetic):
    """Difference, with broadcasting.

        z = x - y

    Args:
        x: any shape, any float dtype; or a number.
        y: a shape that broadcasts with that of x, dtype of x; or a number.

    Returns:
        The broadcast shape; dtype of the arrays; layout of the first input that has this shape.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient needs neither input, only their shapes, given as `sizes`, with None for a number.

    Example:
        >>> sub(1.0, np.array([0.25, 1.0]))
        array([0.75, 0.  ])
    """

    name, ufunc, aliases = "sub", "subtract", True

    def pull_x(self, gy: Array, *, number: float | None) -> Array:
        return gy

    def pull_y(self, gy: Array, *, number: float | None) -> Array:
        return neg(gy)


class Mul(Arithmetic):
    """Product, elementwise, with broadcasting.

        z = x * y

    Args:
        x: any shape, any float dtype; or a number.
        y: a shape that broadcasts with that of x, dtype of x; or a number.

    Returns:
        The broadcast shape; dtype of the arrays; layout of the first input that has this shape.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient of one operand reads the other one, a number being given as `number`, and the shapes of both,
        given as `sizes`, with None for a number.

    Example:
        >>> mul(np.array([1.0, 2.0]), np.array([[3.0], [4.0]]))
        array([[3., 6.],
               [4., 8.]])
    """

    name, ufunc, saves = "mul", "multiply", ("x", "y")

    def kept(self, needs: Sequence[bool]) -> tuple[str, ...]:
        return tuple(name for name, other in zip(self.saves, needs[::-1], strict=True) if other)

    def pull_x(self, gy: Array, x: Any, y: Any, *, number: float | None) -> Array:
        return self.bound(gy, number if y is None else y)

    def pull_y(self, gy: Array, x: Any, y: Any, *, number: float | None) -> Array:
        return self.bound(gy, number if x is None else x)


class Div(Arithmetic):
    """Quotient, elementwise, with broadcasting.

        z = x / y

    A division by 0 gives an infinity, or NaN for 0 / 0.

    Args:
        x: any shape, any float dtype; or a number.
        y: a shape that broadcasts with that of x, dtype of x; or a number.

    Returns:
        The broadcast shape; dtype of the arrays; layout of the first input that has this shape.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient reads the divisor, a number being given as `number`, that of the divisor also the quotient, and
        the shapes of both operands, given as `sizes`, with None for a number.

    Example:
        >>> div(1.0, np.array([2.0, 4.0]))
        array([0.5 , 0.25])
    """

    name, ufunc, saves = "div", "true_divide", ("y", "z")

    def kept(self, needs: Sequence[bool]) -> tuple[str, ...]:
        return ("y", "z") if needs[1] else ("y",)

    def pull_x(self, gy: Array, y: Any, z: Any, *, number: float | None) -> Array:
        return self.bound(gy, number if y is None else y)

    def pull_y(self, gy: Array, y: Any, z: Any, *, number: float | None) -> Array:
        return neg(mul(gy, div(z, y)))


class Neg(Op):
    """Negative, elementwise.

        y = -x

    Args:
        x: any shape, any float dtype.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        DTypeError: x is not floating-point.

    Memory: the gradient needs nothing.

    Example:
        >>> neg(np.array([1.0, -2.0]))
        array([-1.,  2.])
    """

    name, gradients, elementwise = "neg", ("x",), True

    def bind(self, x: Array) -> tuple[tuple[Array], dict[str, Any]]:
        return (x,), {}

    def infer(self, x: Array) -> tuple[Out]:
        self.require_floats(x=x)
        return (like(x),)

    def reference(self, be: Backend, y: Array, x: Array) -> None:
        be.xp.negative(x, out=y)

    def cuda(self, be: KernelBackend, y: Array, x: Array) -> None:
        args = (y, be.dense(x, layout_of(y) or CONTIGUOUS), y.size)
        be.launch("arithmetic.cu", "neg", vector_blocks(y), 256, args, REAL=y.dtype)

    def infer_grad(self, gy: Array) -> tuple[Out]:
        return self.infer(gy)

    grad_reference, grad_cuda = reference, cuda


add, sub, mul, div, neg = Add(), Sub(), Mul(), Div(), Neg()
