"""Functions on tensors, one file per family: what PyTorch has as torch.*."""

from gpunet.tensor.functions.activation import log_softmax, relu, sigmoid, softmax, tanh
from gpunet.tensor.functions.elementwise import add
from gpunet.tensor.functions.shape import flatten, reshape

__all__ = ["add", "flatten", "log_softmax", "relu", "reshape", "sigmoid", "softmax", "tanh"]
