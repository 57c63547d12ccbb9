"""Pooling functions: torch.nn.functional's names over `gpunet.ops`; outputs are channels-last."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.tensor import Tensor, apply

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]

Sizes = int | Sequence[int]


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling over one spatial axis; see `gpunet.ops.max_pool1d`.

    Example:
        >>> import gpunet
        >>> max_pool1d(gpunet.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        tensor([[[3., 2.]]])
    """
    return apply(ops.max_pool1d, input, kernel_size, stride, padding, dilation, ceil_mode, False, CHANNELS_LAST)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling over height and width; see `gpunet.ops.max_pool2d`.

    Example:
        >>> import gpunet
        >>> max_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2)
        tensor([[[[3.]]]])
    """
    return apply(ops.max_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode, False, CHANNELS_LAST)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling over depth, height and width; see `gpunet.ops.max_pool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> max_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 2).shape
        (1, 2, 2, 2, 2)
    """
    return apply(ops.max_pool3d, input, kernel_size, stride, padding, dilation, ceil_mode, False, CHANNELS_LAST)
