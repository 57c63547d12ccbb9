"""Functions on tensors, one file per family: what PyTorch has as torch.*."""

from gpunet.tensor.functions.activation import log_softmax, relu, sigmoid, softmax, tanh
from gpunet.tensor.functions.arithmetic import add, div, mean, mul, neg, sub, sum
from gpunet.tensor.functions.creation import ones, ones_like, zeros, zeros_like
from gpunet.tensor.functions.matmul import bmm, matmul, mm
from gpunet.tensor.functions.shape import cat, flatten, permute, reshape, squeeze, stack, transpose, unsqueeze

__all__ = [
    "add",
    "bmm",
    "cat",
    "div",
    "flatten",
    "log_softmax",
    "matmul",
    "mean",
    "mm",
    "mul",
    "neg",
    "ones",
    "ones_like",
    "permute",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "unsqueeze",
    "zeros",
    "zeros_like",
]
