"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["MaxPool2d"]


class MaxPool2d(Module):
    """Max pooling layer; the formula stands at `gpunet.ops.max_pool2d`.

    Args:
        kernel_size, stride, padding, dilation: pixels, one int or (height, width); stride is kernel_size by default.
        ceil_mode: round output sizes up.

    Shapes: (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> MaxPool2d(2)(gpunet.Tensor(np.zeros((2, 8, 26, 26), np.float32))).shape
        (2, 8, 13, 13)
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Pool a batch of images."""
        settings: tuple[Any, ...] = (
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )
        return F.max_pool2d(input, *settings)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
