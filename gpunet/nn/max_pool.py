"""Max pooling and unpooling layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.ops.geometry import sizes_per_axis
from gpunet.tensor import Tensor

__all__ = [
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Sizes = int | Sequence[int]
OutputSizes = int | Sequence[int | None] | None


class _MaxPool(Module):
    _function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Pool a batch of images."""
        settings = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        return self._function(input, *settings)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class _AdaptiveMaxPool(Module):
    _function: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: OutputSizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        """Pool a batch of images."""
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"output_size={self.output_size}"


class _MaxUnpool(Module):
    _spatial: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        sizes = {"kernel_size": kernel_size, "stride": kernel_size if stride is None else stride, "padding": padding}
        self.kernel_size, self.stride, self.padding = (
            sizes_per_axis(type(self).__name__, name, value, self._spatial, least=0 if name == "padding" else 1)
            for name, value in sizes.items()
        )

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Put the maxima of a batch of images back."""
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_MaxPool):
    """Max pooling layer; the formula stands at `gpunet.ops.max_pool1d`.

    Args:
        kernel_size, stride, padding, dilation: pixels, one int; stride is kernel_size by default.
        return_indices: return (y, indices), for `MaxUnpool1d`.
        ceil_mode: round output sizes up.

    Shapes: (N, C, L) to (N, C, OL), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> MaxPool1d(2)(gpunet.Tensor(np.zeros((2, 3, 8), np.float32))).shape
        (2, 3, 4)
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Max pooling layer; the formula stands at `gpunet.ops.max_pool2d`.

    Args:
        kernel_size, stride, padding, dilation: pixels, one int or (height, width); stride is kernel_size by default.
        return_indices: return (y, indices), for `MaxUnpool2d`.
        ceil_mode: round output sizes up.

    Shapes: (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> MaxPool2d(2)(gpunet.Tensor(np.zeros((2, 3, 8, 6), np.float32))).shape
        (2, 3, 4, 3)
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Max pooling layer; the formula stands at `gpunet.ops.max_pool3d`.

    Args:
        kernel_size, stride, padding, dilation: pixels, one int or (depth, height, width); stride is kernel_size by
            default.
        return_indices: return (y, indices), for `MaxUnpool3d`.
        ceil_mode: round output sizes up.

    Shapes: (N, C, D, H, W) to (N, C, OD, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> MaxPool3d(2)(gpunet.Tensor(np.zeros((2, 3, 4, 8, 6), np.float32))).shape
        (2, 3, 2, 4, 3)
    """

    _function = staticmethod(F.max_pool3d)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Max pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_max_pool1d`.

    Args:
        output_size: pixels, one int; None keeps the input's size.
        return_indices: return (y, indices), for `MaxUnpool1d`.

    Shapes: (N, C, L) to (N, C, OL), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveMaxPool1d(1)(gpunet.Tensor(np.zeros((2, 3, 8), np.float32))).shape
        (2, 3, 1)
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Max pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_max_pool2d`.

    Args:
        output_size: pixels, one int or (height, width); None keeps the input's size.
        return_indices: return (y, indices), for `MaxUnpool2d`.

    Shapes: (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveMaxPool2d(1)(gpunet.Tensor(np.zeros((2, 3, 8, 6), np.float32))).shape
        (2, 3, 1, 1)
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Max pooling layer with a given output size; the formula stands at `gpunet.ops.adaptive_max_pool3d`.

    Args:
        output_size: pixels, one int or (depth, height, width); None keeps the input's size.
        return_indices: return (y, indices), for `MaxUnpool3d`.

    Shapes: (N, C, D, H, W) to (N, C, OD, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> AdaptiveMaxPool3d(1)(gpunet.Tensor(np.zeros((2, 3, 4, 8, 6), np.float32))).shape
        (2, 3, 1, 1, 1)
    """

    _function = staticmethod(F.adaptive_max_pool3d)


class MaxUnpool1d(_MaxUnpool):
    """Layer that puts maxima back to where they came from; the formula stands at `gpunet.ops.max_unpool1d`.

    Args:
        kernel_size, stride, padding: those of the pooling, one int; stride is kernel_size by default.

    Shapes: values and indices (N, C, L) to (N, C, OL), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> x = gpunet.Tensor(np.zeros((2, 3, 8), np.float32))
        >>> MaxUnpool1d(2)(*MaxPool1d(2, return_indices=True)(x)).shape
        (2, 3, 8)
    """

    _spatial, _function = 1, staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Layer that puts maxima back to where they came from; the formula stands at `gpunet.ops.max_unpool2d`.

    Args:
        kernel_size, stride, padding: those of the pooling, one int or (height, width); stride is kernel_size by
            default.

    Shapes: values and indices (N, C, H, W) to (N, C, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> x = gpunet.Tensor(np.zeros((2, 3, 8, 6), np.float32))
        >>> MaxUnpool2d(2)(*MaxPool2d(2, return_indices=True)(x)).shape
        (2, 3, 8, 6)
    """

    _spatial, _function = 2, staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Layer that puts maxima back to where they came from; the formula stands at `gpunet.ops.max_unpool3d`.

    Args:
        kernel_size, stride, padding: those of the pooling, one int or (depth, height, width); stride is kernel_size by
            default.

    Shapes: values and indices (N, C, D, H, W) to (N, C, OD, OH, OW), in channels-last memory.

    Example:
        >>> import gpunet, numpy as np
        >>> x = gpunet.Tensor(np.zeros((2, 3, 4, 8, 6), np.float32))
        >>> MaxUnpool3d(2)(*MaxPool3d(2, return_indices=True)(x)).shape
        (2, 3, 4, 8, 6)
    """

    _spatial, _function = 3, staticmethod(F.max_unpool3d)
