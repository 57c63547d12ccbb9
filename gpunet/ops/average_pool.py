"""Average pooling over one, two or three spatial axes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend, Layout, blas, layout_of, pool
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops import arguments
from gpunet.ops.base import Out, like
from gpunet.ops.elementwise import pieces
from gpunet.ops.geometry import Geometry, channels_last_memory, window_struct, with_three_axes
from gpunet.ops.pool import Pool, grid_and_block
from gpunet.ops.reduce import sum_axes
from gpunet.ops.windows import (
    adaptive_geometry,
    axis_steps,
    elements,
    opened,
    seeing_inputs,
    seen_by_outputs,
    window_geometry,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
]

_LARGE_IMAGE = 1024  # pixels above which one block per output and 32 channels leaves a GPU idle


class AveragePool(Pool):
    """Mean of each window.

        y[n, c, i, j] = sum_{k, l} x[n, c, i*SH + k - PH, j*SW + l - PW] / divisor

    written for two spatial axes; 1-D and 3-D likewise. Positions in the padding count as zero. The divisor is the
    number of window elements within the padded input, or within the input alone, or what the call says.

    Args:
        x: (N, C, *spatial), any float dtype.
        kernel_size, stride, padding: pixels, one int for all axes or one per axis. stride is kernel_size by default;
            padding is at most half of kernel_size.
        ceil_mode: round output sizes up, so that border elements are not left out.
        count_include_pad: whether the divisor counts the padding; what lies beyond it never counts.
        divisor_override: the divisor of all windows, not 0; counted by default.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        (N, C, *out), dtype of x, with out = (size + 2*padding - kernel) // stride + 1.

    Raises:
        ShapeError: the window is larger than the padded input, or a size is out of range.
        ValueError: divisor_override is 0.
        DTypeError: x is not floating-point.

    Memory: the gradient needs the shape of x only, given as `input_size`.
    Source: LeCun et al. 1989.

    Example:
        >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """

    stem = "avg_pool"

    def bind(
        self,
        x: Array,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        layout: Layout | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array], dict[str, Any]]:
        sizes = self.windows(kernel_size=kernel_size, stride=stride, padding=padding)
        size = arguments.input_size(self.__name__, x, input_size)
        if divisor_override is not None:
            divisor_override = arguments.integer(self.__name__, "divisor_override", divisor_override)
        if divisor_override == 0:
            raise ValueError(f"{self.__name__}: divisor_override must be an int other than 0, got 0")
        divisor = {"count_include_pad": bool(count_include_pad), "divisor_override": divisor_override}
        return (x,), {**sizes, "ceil_mode": bool(ceil_mode), **divisor, "input_size": size, "layout": layout}

    def geometry(
        self, *, count_include_pad: bool = True, divisor_override: int | None = None, **attrs: Any
    ) -> Geometry:
        return window_geometry(dilation=(1,) * self.spatial, **attrs)

    def infer(self, x: Array, *, layout: Any, **attrs: Any) -> tuple[Out]:
        self.check_input(x)
        g = self.geometry(**attrs)
        self.check_windows(x, g, **attrs)
        return (like(x, self.out_shape(g), layout),)

    def reference(self, be: Backend, y: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = self.geometry(**attrs), be.xp
        total = xp.zeros((g.batch, g.channels, *g.out_size), x.dtype)
        for _, seen, exists in seen_by_outputs(be, g):
            total = total + xp.where(exists, with_three_axes(x)[seen], 0)
        y[...] = (total / be.from_numpy(_divisors(g, x.dtype, **attrs))).reshape(y.shape)

    def cpu(self, be: Backend, y: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        pixels, divisors = channels_last_memory(be.dense(x, CHANNELS_LAST)), _divisors(g, x.dtype, **attrs)
        with be.dense_output(y, CHANNELS_LAST) as out:
            means, images = channels_last_memory(out), pieces(g.batch, x.size // max(g.batch, 1))
            blas.parallel(
                len(images), lambda i: np.divide(_sums(pixels[images[i]], g), divisors[..., None], out=means[images[i]])
            )

    def cuda(self, be: KernelBackend, y: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        if g.window == g.in_size and not any(g.padding) and g.taps > _LARGE_IMAGE:
            x = be.dense(x, layout_of(x) or CONTIGUOUS)
            axes = [(n, step // x.itemsize) for n, step in zip(x.shape, x.strides, strict=True)]
            sum_axes(be, y, x, axes[:2], axes[2:], attrs.get("divisor_override") or g.taps)
            return
        with be.dense_output(y, CHANNELS_LAST) as out:
            args = (out, be.dense(x, CHANNELS_LAST), window_struct(be, g), *_divisor(**attrs))
            be.launch(
                "average_pool.cu",
                "average_pool_forward",
                *grid_and_block(g.out_pixels, g.channels, y.itemsize, g.taps),
                args,
                REAL=y.dtype,
            )

    def infer_grad(self, gy: Array, *, layout: Any, **attrs: Any) -> tuple[Out]:
        self.require_floats(gy=gy)
        self.require_saved(self.out_shape(self.geometry(**attrs)), gy.dtype, gy=gy)
        return (like(gy, attrs["input_size"], layout),)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = self.geometry(**attrs), be.xp
        shares = with_three_axes(gy) / be.from_numpy(_divisors(g, gy.dtype, **attrs))
        total = xp.zeros((g.batch, g.channels, *g.in_size), gy.dtype)
        for _, seeing, exists in seeing_inputs(be, g):
            total = total + xp.where(exists, shares[seeing], 0)
        gx[...] = total.reshape(gx.shape)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        gradient, divisors = channels_last_memory(be.dense(gy, CHANNELS_LAST)), _divisors(g, gy.dtype, **attrs)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            total, images = channels_last_memory(out), pieces(g.batch, gx.size // max(g.batch, 1))
            blas.parallel(
                len(images), lambda i: _spread(total[images[i]], gradient[images[i]] / divisors[..., None], g)
            )

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            args = (out, be.dense(gy, CHANNELS_LAST), window_struct(be, g), *_divisor(**attrs))
            be.launch(
                "average_pool.cu",
                "average_pool_backward",
                *grid_and_block(g.in_pixels, g.channels, gy.itemsize),
                args,
                REAL=gy.dtype,
            )


class AdaptiveAveragePool(AveragePool):
    """Mean of each of `output_size` windows that divide the input as evenly as they can.

        y[n, c, i, j] = mean of x[n, c, floor(i*H/OH) : ceil((i + 1)*H/OH), floor(j*W/OW) : ceil((j + 1)*W/OW)]

    written for two spatial axes; 1-D and 3-D likewise. An output size of 1 is global pooling.

    Args:
        x: (N, C, *spatial), any float dtype.
        output_size: size of y, one int for all axes or one per axis; None keeps the input's.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        (N, C, *output_size), dtype of x.

    Raises:
        ShapeError: x has no pixels, or output_size is out of range.
        DTypeError: x is not floating-point.

    Memory: the gradient needs the shape of x only, given as `input_size`.
    Source: Lin et al. 2013 (global pooling).

    Example:
        >>> adaptive_avg_pool1d(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), 2)
        array([[[2., 4.]]])
    """

    stem = "adaptive_avg_pool"

    def bind(  # type: ignore[override]
        self,
        x: Array,
        output_size: int | Sequence[int | None] | None,
        layout: Layout | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.__name__, x, input_size)
        return (x,), {"output_size": self.parts(output_size, size), "input_size": size, "layout": layout}

    def geometry(self, **attrs: Any) -> Geometry:
        return adaptive_geometry(**attrs)


def _divisor(*, count_include_pad: bool = True, divisor_override: int | None = None, **_: Any) -> tuple[int, int]:
    """Return what kernels take: whether the padding counts, and the divisor, 0 where it is counted."""
    return int(count_include_pad), divisor_override or 0


@functools.lru_cache(maxsize=64)
def _counts(g: Geometry, with_padding: bool) -> npt.NDArray[np.int64]:
    depth, height, width = opened(elements(g, with_padding))
    return depth * height * width


def _divisors(g: Geometry, dtype: Any, **attrs: Any) -> Array:
    """Return what the sum of each output (D, H, W) is divided by."""
    with_padding, divisor = _divisor(**attrs)
    return (np.full(g.out_size, divisor) if divisor else _counts(g, bool(with_padding))).astype(dtype)


# On the CPU, some images (N, D, H, W, C) at a time, and one axis after the other.


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)


def _zeros(shape: list[int], dtype: Any) -> Array:
    array = pool.allocate(shape, dtype)
    array.fill(0)
    return array


def _sums(pixels: Array, g: Geometry) -> Array:
    """Return the sums over the windows of some images."""
    for axis, steps in enumerate(axis_steps(g), start=1):
        if g.window[axis - 1] == 1 and g.out_size[axis - 1] == g.in_size[axis - 1]:
            continue
        shape = [*pixels.shape]
        shape[axis] = g.out_size[axis - 1]
        total = _zeros(shape, pixels.dtype)
        for outputs, inputs in steps:
            seen = pixels[_along(axis, inputs)]
            if outputs.stop - outputs.start == 1:
                seen = seen.sum(axis=axis, keepdims=True)
            total[_along(axis, outputs)] += seen
        pixels = total
    return pixels


def _spread(gx: Array, shares: Array, g: Geometry) -> None:
    """Add to each input the shares of the outputs that see it."""
    for axis, steps in reversed([*enumerate(axis_steps(g), start=1)]):
        if g.window[axis - 1] == 1 and g.out_size[axis - 1] == g.in_size[axis - 1]:
            continue
        shape = [*shares.shape]
        shape[axis] = g.in_size[axis - 1]
        total = _zeros(shape, shares.dtype)
        for outputs, inputs in steps:
            total[_along(axis, inputs)] += shares[_along(axis, outputs)]
        shares = total
    np.copyto(gx, shares)


avg_pool1d, avg_pool2d, avg_pool3d = (AveragePool(axes) for axes in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (AdaptiveAveragePool(axes) for axes in (1, 2, 3))
