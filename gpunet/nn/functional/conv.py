"""Convolution functions: torch.nn.functional's names over `gpunet.ops`; outputs are channels-last.

On a GPU, float32 is rounded to TF32 unless `gpunet.set_float32_conv_precision("highest")` says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.tensor import Tensor, apply
from gpunet.tensor.precision import conv_allows_tf32

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Sizes = int | Sequence[int]


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over one spatial axis; see `gpunet.ops.conv1d`.

    Example:
        >>> import gpunet
        >>> conv1d(gpunet.tensor([[[1.0, 2.0, 3.0]]]), gpunet.tensor([[[1.0, 1.0]]])).shape
        (1, 1, 2)
    """
    return apply(ops.conv1d, input, weight, bias, stride, padding, dilation, groups, CHANNELS_LAST, conv_allows_tf32())


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over height and width; see `gpunet.ops.conv2d`.

    Example:
        >>> import gpunet, numpy as np
        >>> x, w = gpunet.Tensor(np.ones((1, 3, 8, 8))), gpunet.Tensor(np.ones((4, 3, 3, 3)))
        >>> conv2d(x, w, stride=2).shape
        (1, 4, 3, 3)
    """
    return apply(ops.conv2d, input, weight, bias, stride, padding, dilation, groups, CHANNELS_LAST, conv_allows_tf32())


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution over depth, height and width; see `gpunet.ops.conv3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> x, w = gpunet.Tensor(np.ones((1, 1, 4, 4, 4))), gpunet.Tensor(np.ones((2, 1, 3, 3, 3)))
        >>> conv3d(x, w).shape
        (1, 2, 2, 2, 2)
    """
    return apply(ops.conv3d, input, weight, bias, stride, padding, dilation, groups, CHANNELS_LAST, conv_allows_tf32())


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution over one spatial axis; see `gpunet.ops.conv_transpose1d`.

    Example:
        >>> import gpunet
        >>> conv_transpose1d(gpunet.tensor([[[1.0, 2.0]]]), gpunet.tensor([[[1.0, 10.0]]]))
        tensor([[[ 1., 12., 20.]]])
    """
    window = stride, padding, output_padding, groups, dilation
    return apply(ops.conv_transpose1d, input, weight, bias, *window, CHANNELS_LAST, conv_allows_tf32())


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution over height and width; see `gpunet.ops.conv_transpose2d`.

    Example:
        >>> import gpunet, numpy as np
        >>> x, w = gpunet.Tensor(np.ones((1, 3, 8, 8))), gpunet.Tensor(np.ones((3, 4, 2, 2)))
        >>> conv_transpose2d(x, w, stride=2).shape
        (1, 4, 16, 16)
    """
    window = stride, padding, output_padding, groups, dilation
    return apply(ops.conv_transpose2d, input, weight, bias, *window, CHANNELS_LAST, conv_allows_tf32())


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolution over depth, height and width; see `gpunet.ops.conv_transpose3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> x, w = gpunet.Tensor(np.ones((1, 1, 4, 4, 4))), gpunet.Tensor(np.ones((1, 2, 3, 3, 3)))
        >>> conv_transpose3d(x, w).shape
        (1, 2, 6, 6, 6)
    """
    window = stride, padding, output_padding, groups, dilation
    return apply(ops.conv_transpose3d, input, weight, bias, *window, CHANNELS_LAST, conv_allows_tf32())
