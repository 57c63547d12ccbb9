"""Tensors and the tape."""

from gpunet.tensor.functions.creation import from_numpy, tensor
from gpunet.tensor.gradcheck import gradcheck
from gpunet.tensor.parameter import Parameter
from gpunet.tensor.record import apply, record
from gpunet.tensor.tape import no_grad
from gpunet.tensor.tensor import Tensor

__all__ = ["Parameter", "Tensor", "apply", "from_numpy", "gradcheck", "no_grad", "record", "tensor"]
