"""Activations on tensors."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor.tensor import Tensor, apply

__all__ = ["relu", "sigmoid", "tanh"]


def relu(input: Tensor) -> Tensor:
    """Rectified linear unit: max(input, 0), elementwise; see `gpunet.ops.relu`.

    Example:
        >>> import gpunet
        >>> relu(gpunet.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    return apply(ops.relu, input)


def sigmoid(input: Tensor) -> Tensor:
    """Logistic function: 1 / (1 + exp(-input)), elementwise; see `gpunet.ops.sigmoid`.

    Example:
        >>> import gpunet
        >>> sigmoid(gpunet.tensor([0.0]))
        tensor([0.5])
    """
    return apply(ops.sigmoid, input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent, elementwise; see `gpunet.ops.tanh`.

    Example:
        >>> import gpunet
        >>> tanh(gpunet.tensor([0.0]))
        tensor([0.])
    """
    return apply(ops.tanh, input)
