"""Functions on tensors, one file per family: what PyTorch has as torch.nn.functional (F)."""

from typing import TYPE_CHECKING

from gpunet.errors import absent
from gpunet.nn.functional.activation import elu, leaky_relu, relu
from gpunet.nn.functional.average_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from gpunet.nn.functional.conv import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from gpunet.nn.functional.dropout import dropout, dropout1d, dropout2d, dropout3d
from gpunet.nn.functional.embedding import embedding
from gpunet.nn.functional.linear import linear
from gpunet.nn.functional.loss import binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss
from gpunet.nn.functional.max_pool import (
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from gpunet.nn.functional.norm import batch_norm
from gpunet.tensor.functions import log_softmax, sigmoid, softmax, tanh

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mse_loss",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)
