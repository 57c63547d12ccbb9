"""Functions on tensors, one file per family: what PyTorch has as torch.*."""

from gpunet.tensor.functions.elementwise import add, relu
from gpunet.tensor.functions.shape import flatten, reshape

__all__ = ["add", "flatten", "relu", "reshape"]
