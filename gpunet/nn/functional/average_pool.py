"""Average pooling functions: torch.nn.functional's names over `gpunet.ops`; outputs are channels-last."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.tensor import Tensor, apply

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
]

Sizes = int | Sequence[int]
OutputSizes = int | Sequence[int | None] | None


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average pooling over one spatial axis; see `gpunet.ops.avg_pool1d`.

    Example:
        >>> import gpunet
        >>> avg_pool1d(gpunet.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        tensor([[[2., 1.]]])
    """
    divisor = count_include_pad, divisor_override
    return apply(ops.avg_pool1d, input, kernel_size, stride, padding, ceil_mode, *divisor, CHANNELS_LAST)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average pooling over height and width; see `gpunet.ops.avg_pool2d`.

    Example:
        >>> import gpunet
        >>> avg_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), 2)
        tensor([[[[1.5]]]])
    """
    divisor = count_include_pad, divisor_override
    return apply(ops.avg_pool2d, input, kernel_size, stride, padding, ceil_mode, *divisor, CHANNELS_LAST)


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average pooling over depth, height and width; see `gpunet.ops.avg_pool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> avg_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 2).shape
        (1, 2, 2, 2, 2)
    """
    divisor = count_include_pad, divisor_override
    return apply(ops.avg_pool3d, input, kernel_size, stride, padding, ceil_mode, *divisor, CHANNELS_LAST)


def adaptive_avg_pool1d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Average pooling to a given size over one spatial axis; see `gpunet.ops.adaptive_avg_pool1d`.

    Example:
        >>> import gpunet
        >>> adaptive_avg_pool1d(gpunet.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
        tensor([[[2., 1.]]])
    """
    return apply(ops.adaptive_avg_pool1d, input, output_size, CHANNELS_LAST)


def adaptive_avg_pool2d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Average pooling to a given size over height and width; see `gpunet.ops.adaptive_avg_pool2d`.

    Example:
        >>> import gpunet
        >>> adaptive_avg_pool2d(gpunet.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), (1, None))
        tensor([[[[1.5, 1.5]]]])
    """
    return apply(ops.adaptive_avg_pool2d, input, output_size, CHANNELS_LAST)


def adaptive_avg_pool3d(input: Tensor, output_size: OutputSizes) -> Tensor:
    """Average pooling to a given size over depth, height and width; see `gpunet.ops.adaptive_avg_pool3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> adaptive_avg_pool3d(gpunet.Tensor(np.ones((1, 2, 4, 4, 4))), 1).shape
        (1, 2, 1, 1, 1)
    """
    return apply(ops.adaptive_avg_pool3d, input, output_size, CHANNELS_LAST)
