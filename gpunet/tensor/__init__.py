"""Tensors and the tape."""

from gpunet.tensor.gradcheck import gradcheck
from gpunet.tensor.tape import no_grad
from gpunet.tensor.tensor import Parameter, Tensor, apply, from_numpy, record, tensor

__all__ = ["Parameter", "Tensor", "apply", "from_numpy", "gradcheck", "no_grad", "record", "tensor"]
