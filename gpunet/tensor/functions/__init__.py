"""Functions on tensors, one file per family: what PyTorch has as torch.*."""

from gpunet.tensor.functions.activation import relu, sigmoid, tanh
from gpunet.tensor.functions.elementwise import add
from gpunet.tensor.functions.shape import flatten, reshape

__all__ = ["add", "flatten", "relu", "reshape", "sigmoid", "tanh"]
