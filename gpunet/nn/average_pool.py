"""Average pooling layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.ops.geometry import per_axis
from gpunet.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
]

Sizes = int | Sequence[int]
OutputSizes = int | Sequence[int | None] | None


class _AvgPool(Module):
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Pool a batch of images."""
        divisor = self.count_include_pad, self.divisor_override
        return self._function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, *divisor)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptiveAvgPool(Module):
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, output_size: OutputSizes) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Pool a batch of images."""
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"output_size={self.output_size}"


class AvgPool1d(_AvgPool):
    """Average pooling layer; the formula stands at `gpunet.ops.avg_pool1d`.

    Args:
        kernel_size, stride, padding: pixels, one int; stride is kernel_size by default.
        ceil_mode: round output sizes up.
        count_include_pad: whether the padding counts in the divisor.
        divisor_override: the divisor of all windows; counted by default.

    Shapes: (N, C, L) to (N, C, OL), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AvgPool1d(2)(gpunet.Tensor(np.zeros((2, 3, 8), np.float32))).shape
        (2, 3, 4)
    """

    _function = staticmethod(F.avg_pool1d)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        sizes = (f"{name}={per_axis(getattr(self, name), 1)}" for name in ("kernel_size", "stride", "padding"))
        return ", ".join(sizes)


class AvgPool2d(_AvgPool):
    """Average pooling layer; the formula stands at `gpunet.ops.avg_pool2d`.

    Args:
        kernel_size, stride, padding: pixels, one int or (height, width); stride is kernel_size by default.
        ceil_mode: round output sizes up.
        count_include_pad: whether the padding counts in the divisor.
        divisor_override: the divisor of all windows; counted by default.

    Shapes: (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AvgPool2d(2)(gpunet.Tensor(np.zeros((2, 3, 8, 6), np.float32))).shape
        (2, 3, 4, 3)
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Average pooling layer; the formula stands at `gpunet.ops.avg_pool3d`.

    Args:
        kernel_size, stride, padding: pixels, one int or (depth, height, width); stride is kernel_size by default.
        ceil_mode: round output sizes up.
        count_include_pad: whether the padding counts in the divisor.
        divisor_override: the divisor of all windows; counted by default.

    Shapes: (N, C, D, H, W) to (N, C, OD, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AvgPool3d(2)(gpunet.Tensor(np.zeros((2, 3, 4, 8, 6), np.float32))).shape
        (2, 3, 2, 4, 3)
    """

    _function = staticmethod(F.avg_pool3d)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Average pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_avg_pool1d`.

    Args:
        output_size: pixels, one int; None keeps the input's size.

    Shapes: (N, C, L) to (N, C, OL), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveAvgPool1d(1)(gpunet.Tensor(np.zeros((2, 3, 8), np.float32))).shape
        (2, 3, 1)
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Average pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_avg_pool2d`.

    Args:
        output_size: pixels, one int or (height, width); None keeps the input's size.

    Shapes: (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveAvgPool2d(1)(gpunet.Tensor(np.zeros((2, 3, 8, 6), np.float32))).shape
        (2, 3, 1, 1)
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Average pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_avg_pool3d`.

    Args:
        output_size: pixels, one int or (depth, height, width); None keeps the input's size.

    Shapes: (N, C, D, H, W) to (N, C, OD, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveAvgPool3d(1)(gpunet.Tensor(np.zeros((2, 3, 4, 8, 6), np.float32))).shape
        (2, 3, 1, 1, 1)
    """

    _function = staticmethod(F.adaptive_avg_pool3d)
