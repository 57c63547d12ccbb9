"""Arithmetic and sums on tensors."""

from __future__ import annotations

from gpunet import ops
from gpunet.ops.arithmetic import Number
from gpunet.tensor.operators import Dims
from gpunet.tensor.record import apply
from gpunet.tensor.tensor import Tensor

__all__ = ["add", "div", "mean", "mul", "neg", "sub", "sum"]


def add(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Sum with broadcasting: input + other; see `gpunet.ops.add`.

    Example:
        >>> import gpunet
        >>> add(gpunet.tensor([[1.0], [2.0]]), gpunet.tensor([10.0, 20.0]))
        tensor([[11., 21.],
                [12., 22.]])
    """
    return apply(ops.add, input, other)


def sub(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Difference with broadcasting: input - other; see `gpunet.ops.sub`.

    Example:
        >>> import gpunet
        >>> sub(gpunet.tensor([3.0, 4.0]), 1)
        tensor([2., 3.])
    """
    return apply(ops.sub, input, other)


def mul(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Product with broadcasting: input * other, elementwise; see `gpunet.ops.mul`.

    Example:
        >>> import gpunet
        >>> mul(gpunet.tensor([1.0, 2.0]), gpunet.tensor([3.0, 4.0]))
        tensor([3., 8.])
    """
    return apply(ops.mul, input, other)


def div(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Quotient with broadcasting: input / other, elementwise; see `gpunet.ops.div`.

    Example:
        >>> import gpunet
        >>> div(1, gpunet.tensor([2.0, 4.0]))
        tensor([0.5 , 0.25])
    """
    return apply(ops.div, input, other)


def neg(input: Tensor) -> Tensor:
    """Negative: -input; see `gpunet.ops.neg`.

    Example:
        >>> import gpunet
        >>> neg(gpunet.tensor([1.0, -2.0]))
        tensor([-1.,  2.])
    """
    return apply(ops.neg, input)


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Sum over axes, all by default; see `gpunet.ops.sum`.

    Example:
        >>> import gpunet
        >>> sum(gpunet.tensor([[1.0, 2.0], [3.0, 4.0]]), 0)
        tensor([4., 6.])
    """
    return apply(ops.sum, input, dim, keepdim)


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Mean over axes, of all elements by default; see `gpunet.ops.mean`.

    Example:
        >>> import gpunet
        >>> mean(gpunet.tensor([1.0, 2.0, 6.0]))
        tensor(3.)
    """
    return apply(ops.mean, input, dim, keepdim)
