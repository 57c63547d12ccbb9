"""Activations on tensors."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor.record import apply
from gpunet.tensor.tensor import Tensor

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "tanh"]


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


def softmax(input: Tensor, dim: int) -> Tensor:
    """Probabilities along one axis: exp(input) / sum(exp(input)); see `gpunet.ops.softmax`.

    Example:
        >>> import gpunet
        >>> softmax(gpunet.tensor([[0.0, 0.0]]), 1)
        tensor([[0.5, 0.5]])
    """
    return apply(ops.softmax, input, dim)


def log_softmax(input: Tensor, dim: int) -> Tensor:
    """Logarithm of softmax along one axis; see `gpunet.ops.log_softmax`.

    Example:
        >>> import gpunet
        >>> log_softmax(gpunet.tensor([[1e4, 0.0]]), 1)
        tensor([[     0., -10000.]])
    """
    return apply(ops.log_softmax, input, dim)
