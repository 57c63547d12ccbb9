"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Device
from gpunet.errors import ShapeError
from gpunet.nn import functional as F
from gpunet.nn import init
from gpunet.nn.module import Module, channels_last_parameter
from gpunet.ops.geometry import per_axis
from gpunet.tensor import Parameter, Tensor

__all__ = ["Conv2d"]


class Conv2d(Module):
    """2-D convolution layer; the formula stands at `gpunet.ops.conv2d`.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: pixels, one int or (height, width).
        groups: divides C and O.
        bias: whether to learn a bias.
        device, dtype: of the parameters; float32 on the CPU by default.

    Shapes: (N, C, H, W) to (N, O, OH, OW), in channels-last memory.

    Parameters: weight (O, C/groups, KH, KW) and bias (O,), both uniform in +-1/sqrt(C/groups * KH * KW).

    Raises:
        ShapeError: groups does not divide the channels, or a size is below 1.

    Example:
        >>> import gpunet
        >>> Conv2d(1, 8, 3)(gpunet.Tensor(np.zeros((2, 1, 28, 28), np.float32))).shape
        (2, 8, 26, 26)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                "Conv2d: groups must divide both channel counts, all of them >= 1.\n"
                f"  got in_channels={in_channels}, out_channels={out_channels}, groups={groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = per_axis(kernel_size, 2), per_axis(stride, 2)
        self.padding, self.dilation = per_axis(padding, 2), per_axis(dilation, 2)
        be = backend.get(backend.device(device))
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = channels_last_parameter(be, shape, dtype)
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(be.empty((out_channels,), dtype))
            bound = 1 / math.sqrt(init.fan_in(shape))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve a batch of images."""
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if any(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text + (", bias=False" if self.bias is None else "")
