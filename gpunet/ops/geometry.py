"""The sizes of a sliding window: one record for convolution and pooling over one to three spatial axes.

All code below the public functions sees three spatial axes (depth, height, width); those that an op lacks
have size 1, window 1, stride 1 and padding 0. Positions in a window are called taps and numbered in C order.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpunet.backend.kernel_backend import KernelBackend
from gpunet.backend.layout import CHANNELS_LAST, memory_view
from gpunet.errors import KernelError, ShapeError, layout_message

__all__ = [
    "Geometry",
    "Triple",
    "channels_last_memory",
    "per_axis",
    "sizes_per_axis",
    "triple",
    "window_struct",
    "with_three_axes",
]

Triple = tuple[int, int, int]

_MOST_PIXELS = 2**31 - 2**10  # an int of kernels, which look up to a tile beyond the last pixel


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one convolution or pooling; channels and outputs count all groups together."""

    batch: int
    channels: int
    outputs: int
    groups: int
    in_size: Triple
    out_size: Triple
    window: Triple
    stride: Triple
    padding: Triple
    dilation: Triple

    @property
    def taps(self) -> int:
        """Positions in the window."""
        return self.window[0] * self.window[1] * self.window[2]

    @property
    def in_pixels(self) -> int:
        """Positions of the whole input batch."""
        return self.batch * self.in_size[0] * self.in_size[1] * self.in_size[2]

    @property
    def out_pixels(self) -> int:
        """Positions of the whole output batch."""
        return self.batch * self.out_size[0] * self.out_size[1] * self.out_size[2]

    def tap_number(self, depth: Any, height: Any, width: Any) -> Any:
        """Return the number of a tap from its position in the window; ints or arrays."""
        return (depth * self.window[1] + height) * self.window[2] + width

    def tap_position(self, number: Any) -> tuple[Any, Any, Any]:
        """Return the position of a tap in the window, the inverse of `tap_number`."""
        _, height, width = self.window
        return number // (height * width), number // width % height, number % width


def per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Return one int per spatial axis; an int counts for all of them, as in PyTorch.

    >>> per_axis(2, 2), per_axis((2, 1), 2)
    ((2, 2), (2, 1))
    """
    if isinstance(value, int | np.integer):
        return (int(value),) * axes
    values = tuple(map(operator.index, value))
    return values * axes if len(values) == 1 else values


def sizes_per_axis(owner: str, name: str, value: int | Sequence[int], axes: int, least: int) -> tuple[int, ...]:
    """Return one int per spatial axis, or raise what says that one is missing or below `least`.

    >>> sizes_per_axis("conv2d", "stride", 2, axes=2, least=1)
    (2, 2)
    """
    try:
        values = per_axis(value, axes)
    except (TypeError, ValueError):
        values = ()
    if len(values) != axes or min(values) < least:
        expected = f"an int or {axes} ints, each >= {least}, got {value!r}"
        raise ShapeError(layout_message(owner, f"{name} is out of range.", expected=expected))
    return values


def triple(values: Sequence[int], missing: int) -> Triple:
    """Put what a missing axis has in front of the values of one to three spatial axes."""
    depth, height, width = (*(missing,) * (3 - len(values)), *values)
    return depth, height, width


def with_three_axes(array: Any) -> Any:
    """View (N, C, *spatial) memory as (N, C, D, H, W), missing spatial axes of size 1 in front."""
    return array[(slice(None), slice(None), *[None] * (5 - array.ndim))]


def channels_last_memory(array: Any) -> Any:
    """View channels-last (N, C, *spatial) as C-contiguous (N, D, H, W, C)."""
    return memory_view(with_three_axes(array), CHANNELS_LAST)


@functools.lru_cache(maxsize=4096)
def window_struct(be: KernelBackend, geometry: Geometry) -> Any:
    """Return the struct `Window` of kernels/window.cuh, which kernels take by value.

    Raises:
        KernelError: a kernel, which counts in 32 bits, would lose count.
    """
    padded = (n + 2 * p for n, p in zip(geometry.in_size, geometry.padding, strict=True))
    if max(geometry.in_pixels, geometry.out_pixels, geometry.taps, *padded) > _MOST_PIXELS:
        raise KernelError(
            layout_message(
                "convolution and pooling",
                "there are more pixels than kernels can count.",
                expected=f"at most {_MOST_PIXELS} pixels of all images together, and along a padded axis, got "
                f"{geometry.in_pixels} in the input and {geometry.out_pixels} in the output",
                hint="split the batch, or the images",
            )
        )
    return be.struct("conv.cu", "Window", **asdict(geometry))
