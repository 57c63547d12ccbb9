"""Ops on bare arrays: NumPy, CuPy or emulated in, the same kind out; each op carries its gradient.

y = ops.conv2d(x, w, b, stride=2)
gx, gw, gb = ops.conv2d.grad(gy, x, w, stride=2)
"""

from gpunet.ops.activation import elu, leaky_relu, relu, sigmoid, tanh
from gpunet.ops.arithmetic import add, div, mul, neg, sub
from gpunet.ops.average_pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
)
from gpunet.ops.cast import cast
from gpunet.ops.clip import clip_by_norm, clip_by_value, norm_partials, norm_total
from gpunet.ops.conv import (
    conv1d,
    conv1d_input,
    conv1d_weight,
    conv2d,
    conv2d_input,
    conv2d_weight,
    conv3d,
    conv3d_input,
    conv3d_weight,
)
from gpunet.ops.conv_max_pool import conv2d_max_pool2d
from gpunet.ops.conv_transpose import (
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from gpunet.ops.cross_entropy import cross_entropy
from gpunet.ops.dropout import dropout, dropout1d, dropout2d, dropout3d
from gpunet.ops.embedding import embedding
from gpunet.ops.images import normalize_images
from gpunet.ops.join import cat
from gpunet.ops.linear import linear
from gpunet.ops.loss import binary_cross_entropy_with_logits, l1_loss, mse_loss
from gpunet.ops.matmul import matmul
from gpunet.ops.max_pool import (
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from gpunet.ops.norm import batch_norm
from gpunet.ops.optim_adam import adam_step
from gpunet.ops.optim_sgd import sgd_step
from gpunet.ops.reduce import sum_to_size
from gpunet.ops.shape import flatten, reshape
from gpunet.ops.softmax import log_softmax, softmax
from gpunet.ops.sums import mean, sum
from gpunet.ops.unpool import (
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from gpunet.ops.view import getitem, permute

__all__ = [
    "adam_step",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "add",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "cast",
    "cat",
    "clip_by_norm",
    "clip_by_value",
    "conv1d",
    "conv1d_input",
    "conv1d_weight",
    "conv2d",
    "conv2d_input",
    "conv2d_max_pool2d",
    "conv2d_weight",
    "conv3d",
    "conv3d_input",
    "conv3d_weight",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "div",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "flatten",
    "getitem",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "matmul",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mean",
    "mse_loss",
    "mul",
    "neg",
    "norm_partials",
    "norm_total",
    "normalize_images",
    "permute",
    "relu",
    "reshape",
    "sgd_step",
    "sigmoid",
    "softmax",
    "sub",
    "sum",
    "sum_to_size",
    "tanh",
]
