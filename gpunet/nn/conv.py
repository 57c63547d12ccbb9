"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Device
from gpunet.errors import ShapeError
from gpunet.nn import functional as F
from gpunet.nn import init
from gpunet.nn.module import Module, channels_last_parameter
from gpunet.ops.geometry import sizes_per_axis
from gpunet.tensor import Parameter, Tensor

__all__ = ["Conv1d", "Conv2d", "Conv3d", "Convolution"]

Sizes = int | Sequence[int]


class Convolution(Module):
    """Base of convolution layers and their transposes: settings, parameters and text."""

    _spatial: ClassVar[int]
    _function: ClassVar[Callable[..., Tensor]]
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    bias: Parameter | None

    def set_sizes(
        self, in_channels: int, out_channels: int, groups: int, padding_mode: str, sizes: dict[str, Sizes]
    ) -> None:
        """Check the settings and keep them; sizes as one int per axis."""
        name = type(self).__name__
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name}: groups must divide both channel counts, all of them >= 1.\n"
                f"  got in_channels={in_channels}, out_channels={out_channels}, groups={groups}"
            )
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode={padding_mode!r} is not in gpunet, which pads with zeros only")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        for size, value in sizes.items():
            least = 0 if "padding" in size else 1
            setattr(self, size, sizes_per_axis(name, size, value, self._spatial, least))

    def make_parameters(self, shape: tuple[int, ...], bias: bool, device: str | Device, dtype: npt.DTypeLike) -> None:
        """Make the parameters; a weight has its inputs, as PyTorch counts them, on its second axis."""
        be = backend.get(backend.device(device))
        self.weight = channels_last_parameter(be, shape, dtype)
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias = None
        if bias:
            self.bias = Parameter(be.empty((self.out_channels,), dtype))
            bound = 1 / math.sqrt(init.fan_in(shape))
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            values = getattr(self, name, (usual,))
            if set(values) != {usual}:
                text += f", {name}={values}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + (", bias=False" if self.bias is None else "")


class _Conv(Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        sizes = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}
        self.set_sizes(in_channels, out_channels, groups, padding_mode, sizes)
        self.make_parameters((out_channels, in_channels // groups, *self.kernel_size), bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve a batch of images."""
        settings = self.stride, self.padding, self.dilation, self.groups
        return type(self)._function(input, self.weight, self.bias, *settings)


class Conv1d(_Conv):
    """1-D convolution layer; the formula stands at `gpunet.ops.conv1d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int.
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, L) to (N, O, OL), in channels-last memory.

    Parameters: weight (O, C/groups, KL) and bias (O,), both uniform in +-1/sqrt(C/groups * KL).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> Conv1d(1, 8, 3)(gpunet.Tensor(np.zeros((2, 1, 28), np.float32))).shape
        (2, 8, 26)
    """

    _spatial, _function = 1, F.conv1d


class Conv2d(_Conv):
    """2-D convolution layer; the formula stands at `gpunet.ops.conv2d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int or (height, width).
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, H, W) to (N, O, OH, OW), in channels-last memory.

    Parameters: weight (O, C/groups, KH, KW) and bias (O,), both uniform in +-1/sqrt(C/groups * KH * KW).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> Conv2d(1, 8, 3)(gpunet.Tensor(np.zeros((2, 1, 28, 28), np.float32))).shape
        (2, 8, 26, 26)
    """

    _spatial, _function = 2, F.conv2d


class Conv3d(_Conv):
    """3-D convolution layer; the formula stands at `gpunet.ops.conv3d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int or (depth, height, width).
        groups: divides C and O.
        bias: whether to learn a bias.
        padding_mode: "zeros".
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, D, H, W) to (N, O, OD, OH, OW), in channels-last memory.

    Parameters: weight (O, C/groups, KD, KH, KW) and bias (O,), both uniform in +-1/sqrt(C/groups * KD * KH * KW).

    Raises:
        ShapeError: groups does not divide the channels, or a size is out of range.

    Example:
        >>> import gpunet
        >>> Conv3d(1, 8, 3)(gpunet.Tensor(np.zeros((2, 1, 9, 28, 28), np.float32))).shape
        (2, 8, 7, 26, 26)
    """

    _spatial, _function = 3, F.conv3d
