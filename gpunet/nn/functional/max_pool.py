"""Max pooling and unpooling functions: torch.nn.functional's names over `gpunet.ops`; outputs are channels-last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.tensor import Tensor, apply, record

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

Sizes = int | Sequence[int]
OutputSizes = int | Sequence[int | None] | None


def _pool(op: Any, *args: Any) -> Any:
    """Return y, or (y, indices) where they are asked for."""
    inputs, attrs = op.bind(*args, CHANNELS_LAST)
    y, (winner,) = record(op, inputs, attrs)
    return (y, Tensor(op.indices(winner, **attrs))) if attrs["return_indices"] else y


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling over one spatial axis; see `gpunet.ops.max_pool1d`.

    Example:
        >>> import gpunet
        >>> max_pool1d(gpunet.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        tensor([[[3., 2.]]])
    """
    return _pool(ops.max_pool1d, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling over height and width; see `gpunet.ops.max_pool2d`.

    Example:
        >>> import gpunet
        >>> max_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2, return_indices=True)
        (tensor([[[[3.]]]]), tensor([[[[1]]]]))
    """
    return _pool(ops.max_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling over depth, height and width; see `gpunet.ops.max_pool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> max_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 2).shape
        (1, 2, 2, 2, 2)
    """
    return _pool(ops.max_pool3d, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def adaptive_max_pool1d(input: Tensor, output_size: OutputSizes, return_indices: bool = False) -> Any:
    """Max pooling to a given size over one spatial axis; see `gpunet.ops.adaptive_max_pool1d`.

    Example:
        >>> import gpunet
        >>> adaptive_max_pool1d(gpunet.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        tensor([[[3., 2.]]])
    """
    return _pool(ops.adaptive_max_pool1d, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: OutputSizes, return_indices: bool = False) -> Any:
    """Max pooling to a given size over height and width; see `gpunet.ops.adaptive_max_pool2d`.

    Example:
        >>> import gpunet
        >>> adaptive_max_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), (1, None))
        tensor([[[[2., 3.]]]])
    """
    return _pool(ops.adaptive_max_pool2d, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: OutputSizes, return_indices: bool = False) -> Any:
    """Max pooling to a given size over depth, height and width; see `gpunet.ops.adaptive_max_pool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> adaptive_max_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 1).shape
        (1, 2, 1, 1, 1)
    """
    return _pool(ops.adaptive_max_pool3d, input, output_size, return_indices)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put maxima back over one spatial axis; see `gpunet.ops.max_unpool1d`.

    Example:
        >>> import gpunet
        >>> y, indices = max_pool1d(gpunet.tensor([[[1.0, 3.0, 4.0, 2.0]]]), 2, return_indices=True)
        >>> max_unpool1d(y, indices, 2)
        tensor([[[0., 3., 4., 0.]]])
    """
    return apply(ops.max_unpool1d, input, indices, kernel_size, stride, padding, output_size, CHANNELS_LAST)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put maxima back over height and width; see `gpunet.ops.max_unpool2d`.

    Example:
        >>> import gpunet
        >>> y, indices = max_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2, return_indices=True)
        >>> max_unpool2d(y, indices, 2)
        tensor([[[[0., 3.],
                  [0., 0.]]]])
    """
    return apply(ops.max_unpool2d, input, indices, kernel_size, stride, padding, output_size, CHANNELS_LAST)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put maxima back over depth, height and width; see `gpunet.ops.max_unpool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> y, indices = max_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 2, return_indices=True)
        >>> max_unpool3d(y, indices, 2).shape
        (1, 2, 4, 4, 4)
    """
    return apply(ops.max_unpool3d, input, indices, kernel_size, stride, padding, output_size, CHANNELS_LAST)
