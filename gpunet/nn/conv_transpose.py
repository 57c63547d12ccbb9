"""Transposed convolution layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpunet.backend import Device
from gpunet.errors import ShapeError, layout_message
from gpunet.nn import functional as F
from gpunet.nn.conv import Convolution, Sizes
from gpunet.tensor import Tensor

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(Convolution):
    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        sizes = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "output_padding": output_padding}
        self.set_sizes(in_channels, out_channels, groups, padding_mode, {**sizes, "dilation": dilation})
        self.make_parameters((in_channels, out_channels // groups, *self.kernel_size), bias, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Make images of a batch; `output_size`, spatial or whole, chooses among the sizes that the stride allows."""
        extra = self.output_padding if output_size is None else self._missing(input.shape, output_size)
        settings = self.stride, self.padding, extra, self.groups, self.dilation
        return type(self)._function(input, self.weight, self.bias, *settings)

    def _missing(self, input_size: tuple[int, ...], output_size: Sequence[int]) -> tuple[int, ...]:
        """Return the output_padding that leads to an output size."""
        axes = zip(input_size[2:], self.stride, self.padding, self.dilation, self.kernel_size, strict=False)
        least = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in axes)
        wanted = tuple(output_size) if isinstance(output_size, Sequence) else ()
        wanted = wanted[2:] if len(wanted) == self._spatial + 2 else wanted
        ranges = list(zip(wanted, least, self.stride, strict=False))
        if len(wanted) != len(least) or not all(low <= size < low + step for size, low, step in ranges):
            most = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=False))
            expected = f"{self._spatial} sizes from {least} to {most}, got {output_size}"
            raise ShapeError(layout_message(type(self).__name__, "output_size is out of range.", expected=expected))
        return tuple(size - low for size, low, _ in ranges)


class ConvTranspose1d(_ConvTranspose):
    """1-D transposed convolution layer; the formula stands at `gpunet.ops.conv_transpose1d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int.
        output_padding: pixels to add at the end of each axis, less than stride or less than dilation.
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, L) to (N, O, OL), in channels-last memory.

    Parameters: weight (C, O/groups, KL) and bias (O,), both uniform in +-1/sqrt(O/groups * KL).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> ConvTranspose1d(1, 8, 2, stride=2)(gpunet.Tensor(np.zeros((2, 1, 28), np.float32))).shape
        (2, 8, 56)
    """

    _spatial, _function = 1, F.conv_transpose1d


class ConvTranspose2d(_ConvTranspose):
    """2-D transposed convolution layer; the formula stands at `gpunet.ops.conv_transpose2d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int or (height, width).
        output_padding: pixels to add at the end of each axis, less than stride or less than dilation.
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, H, W) to (N, O, OH, OW), in channels-last memory.

    Parameters: weight (C, O/groups, KH, KW) and bias (O,), both uniform in +-1/sqrt(O/groups * KH * KW).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> ConvTranspose2d(1, 8, 2, stride=2)(gpunet.Tensor(np.zeros((2, 1, 28, 28), np.float32))).shape
        (2, 8, 56, 56)
    """

    _spatial, _function = 2, F.conv_transpose2d


class ConvTranspose3d(_ConvTranspose):
    """3-D transposed convolution layer; the formula stands at `gpunet.ops.conv_transpose3d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int or (depth, height, width).
        output_padding: pixels to add at the end of each axis, less than stride or less than dilation.
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, D, H, W) to (N, O, OD, OH, OW), in channels-last memory.

    Parameters: weight (C, O/groups, KD, KH, KW) and bias (O,), both uniform in +-1/sqrt(O/groups * KD * KH * KW).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> ConvTranspose3d(1, 8, 2, stride=2)(gpunet.Tensor(np.zeros((2, 1, 9, 28, 28), np.float32))).shape
        (2, 8, 18, 56, 56)
    """

    _spatial, _function = 3, F.conv_transpose3d
