"""Neural networks on CuPy arrays with hand-written CUDA kernels, and on NumPy with the same API.

ops       functions on bare arrays, each with its gradient
nn        layers; nn.functional, PyTorch's F
optim     optimizers
data, emulator, io, models, train, viz      loaded when first used
"""

import importlib as _importlib
import typing as _typing

from gpunet import blas_kernels as _blas_kernels

_blas_kernels.load_numpy()  # before anything imports NumPy

# ruff: noqa: E402
import numpy as _np

from gpunet import nn, ops, optim
from gpunet.backend import Device, device
from gpunet.backend.dtypes import bfloat16 as _bfloat16
from gpunet.backend.random import Generator, manual_seed
from gpunet.errors import (
    DeviceError,
    DTypeError,
    FormatError,
    KernelError,
    OutOfMemoryError,
    ShapeError,
)
from gpunet.errors import (
    absent as _absent,
)
from gpunet.tensor import Parameter, Tensor, from_numpy, gradcheck, no_grad, tensor
from gpunet.tensor.functions import (
    add,
    bmm,
    cat,
    div,
    flatten,
    log_softmax,
    matmul,
    mean,
    mm,
    mul,
    neg,
    ones,
    ones_like,
    permute,
    relu,
    reshape,
    sigmoid,
    softmax,
    squeeze,
    stack,
    sub,
    sum,
    tanh,
    transpose,
    unsqueeze,
    zeros,
    zeros_like,
)
from gpunet.tensor.precision import (
    get_float32_conv_precision,
    get_float32_matmul_precision,
    set_float32_conv_precision,
    set_float32_matmul_precision,
)

__version__ = "0.1.0"

float16, float32, float64 = (_np.dtype(name) for name in ("float16", "float32", "float64"))
int64, uint8 = _np.dtype("int64"), _np.dtype("uint8")

__all__ = [
    "DTypeError",
    "Device",
    "DeviceError",
    "FormatError",
    "Generator",
    "KernelError",
    "OutOfMemoryError",
    "Parameter",
    "ShapeError",
    "Tensor",
    "add",
    "bmm",
    "cat",
    "device",
    "div",
    "flatten",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "get_float32_conv_precision",
    "get_float32_matmul_precision",
    "gradcheck",
    "int64",
    "log_softmax",
    "manual_seed",
    "matmul",
    "mean",
    "mm",
    "mul",
    "neg",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "permute",
    "relu",
    "reshape",
    "set_float32_conv_precision",
    "set_float32_matmul_precision",
    "sigmoid",
    "softmax",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "tanh",
    "tensor",
    "transpose",
    "uint8",
    "unsqueeze",
    "zeros",
    "zeros_like",
]

_ON_DEMAND = ("data", "emulator", "io", "models", "train", "viz")

if _typing.TYPE_CHECKING:  # what __getattr__ gives, and that nothing else is here
    from gpunet import data as data
    from gpunet import emulator as emulator
    from gpunet import io as io
    from gpunet import models as models
    from gpunet import train as train
    from gpunet import viz as viz

    bfloat16: _np.dtype[_typing.Any]
else:

    def __getattr__(name: str) -> _typing.Any:
        if name in _ON_DEMAND:
            return _importlib.import_module(f"gpunet.{name}")
        if name == "bfloat16":  # imports ml_dtypes
            return _bfloat16()
        return _absent("gpunet")(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})  # bfloat16 needs a package that may be missing, which getmembers fails on
