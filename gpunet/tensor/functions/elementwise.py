"""Elementwise functions on tensors."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor.tensor import Tensor, apply

__all__ = ["add"]


def add(input: Tensor, other: Tensor) -> Tensor:
    """Sum with broadcasting: input + other; see `gpunet.ops.add`.

    Example:
        >>> import gpunet
        >>> add(gpunet.tensor([[1.0], [2.0]]), gpunet.tensor([10.0, 20.0]))
        tensor([[11., 21.],
                [12., 22.]])
    """
    return apply(ops.add, input, other)
