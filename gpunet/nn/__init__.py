"""Layers, with PyTorch's names, defaults and state_dict keys."""

from typing import TYPE_CHECKING

from gpunet.errors import absent
from gpunet.nn import functional, init, utils
from gpunet.nn.activation import ELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from gpunet.nn.average_pool import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
)
from gpunet.nn.container import Identity, ModuleDict, ModuleList, Sequential
from gpunet.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
)
from gpunet.nn.conv_transpose import (
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from gpunet.nn.dropout import Dropout, Dropout1d, Dropout2d, Dropout3d
from gpunet.nn.embedding import Embedding
from gpunet.nn.linear import Flatten, Linear
from gpunet.nn.loss import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss
from gpunet.nn.max_pool import (
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from gpunet.nn.module import Module
from gpunet.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from gpunet.tensor import Parameter

__all__ = [
    "ELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "Flatten",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
    "utils",
]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)
