"""Convolution and the max pooling of its output, in one pass where a kernel can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import CHANNELS_LAST, Array, Backend, Layout
from gpunet.backend.dtypes import is_half
from gpunet.ops.activation import relu
from gpunet.ops.base import like
from gpunet.ops.conv import conv2d
from gpunet.ops.conv_cuda import Cuda
from gpunet.ops.conv_products import CPU
from gpunet.ops.max_pool import max_pool2d

__all__ = ["conv2d_max_pool2d"]

_WINDOW = 2


def conv2d_max_pool2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: Layout | None = None,
    allow_tf32: bool = False,
    activation: str | None = None,
) -> tuple[Array, Array]:
    """Convolution, max pooling of its output over 2 x 2 pixels, and ReLU: in this order, which commutes with any other.

        y = relu(max_pool2d(conv2d(x, w, b), 2))

    with the bits of these ops one after the other. The image that is pooled never reaches memory on the CPU, and on a
    GPU where tensor cores make a convolution of few channels with stride 1.

    Args:
        x, w, b, stride, padding, dilation, groups, layout, allow_tf32: as those of `conv2d`.
        activation: "relu", or None to leave it out.

    Returns:
        (y, winner), as `max_pool2d.forward`: y (N, O, OH // 2, OW // 2), dtype of x, and for each of its elements the
        number of the pixel, 0 to 3, from which it comes. Gradients go through `relu.grad(gy, y)`,
        `max_pool2d.grad(gy, winner, kernel_size=2, input_size=(N, O, OH, OW))` and `conv2d.grad(gy, x, w)`.

    Raises:
        ShapeError, DTypeError, ValueError: as `conv2d` and `max_pool2d`.

    Example:
        >>> y, winner = conv2d_max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 1, 1)))
        >>> y[0, 0], winner[0, 0]
        (array([[ 5.,  7.],
               [13., 15.]]), array([[3, 3],
               [3, 3]], dtype=uint8))
    """
    arrays, attrs = conv2d.bind(x, w, b, stride, padding, dilation, groups, layout, allow_tf32, activation)
    between = conv2d.infer(*arrays, **attrs)[0]
    be, clipped = backend.of(x), attrs.pop("activation") is not None
    fused = _fused(be, between.shape, arrays, attrs, clipped)
    if fused is not None:
        return fused
    image = conv2d.run(arrays, {**attrs, "layout": CHANNELS_LAST, "activation": None})[0]
    y, winner = max_pool2d.forward(image, _WINDOW, layout=between.layout)
    return (relu(y) if clipped else y), winner


def _fused(
    be: Backend, shape: tuple[int, ...], arrays: tuple[Any, ...], attrs: dict[str, Any], clipped: bool
) -> tuple[Array, Array] | None:
    """Return what one kernel makes, or one block of the CPU's cache after the other; None where neither can."""
    x, w, b = arrays
    size = (*shape[:2], shape[2] // _WINDOW, shape[3] // _WINDOW)
    if 0 in size or (not be.uses_kernels and is_half(x.dtype)):  # the CPU computes in float32
        return None
    g = conv2d.geometry(x.shape, w.shape, **attrs)
    y, winner = be.empty(size, x.dtype, like(x, size, attrs["layout"]).layout), be.empty(size, np.uint8, CHANNELS_LAST)
    by: Any = Cuda(attrs["allow_tf32"]) if be.uses_kernels else CPU
    return (y, winner) if by.max_pool(be, y, winner, x, w, b, g, clipped) else None
