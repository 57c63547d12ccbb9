"""Max pooling over one, two or three spatial axes, with the winners' positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend, Layout
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops import arguments, max_pool_cpu
from gpunet.ops.base import Out, like
from gpunet.ops.geometry import Geometry, channels_last_memory, window_struct, with_three_axes
from gpunet.ops.pool import Pool, grid_and_block
from gpunet.ops.windows import (
    adaptive_geometry,
    begins,
    opened,
    seeing_inputs,
    seen_by_outputs,
    window_geometry,
)

__all__ = [
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


class MaxPool(Pool):
    """Largest element of each window.

        y[n, c, i, j] = max_{k, l} x[n, c, i*SH + k*DH - PH, j*SW + l*DW - PW]

    written for two spatial axes; 1-D and 3-D likewise. Positions in the padding never win, and a window that lies
    there as a whole gives -infinity. The first of equal maxima wins; NaN wins over everything. The gradient goes to
    the winner.

    Args:
        x: (N, C, *spatial), any float dtype.
        kernel_size, stride, padding, dilation: pixels, one int for all axes or one per axis. stride is
            kernel_size by default; padding is at most half of kernel_size.
        ceil_mode: round output sizes up, so that border elements are not left out.
        return_indices: also return where each maximum lies.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        y (N, C, *out), dtype of x, with out = (size + 2*padding - dilation*(kernel - 1) - 1) // stride + 1; with
        return_indices also indices (N, C, *out) int64 into the flattened spatial axes of x, PyTorch's form.
        `forward` returns (y, winner): the winner's number in its window, one byte each where that is enough.

    Raises:
        ShapeError: the window is larger than the padded input, or a size is out of range.
        DTypeError: x is not floating-point.

    Memory: the gradient reads the winners only, one byte per output for windows of up to 256 elements.
    Source: Ranzato et al. 2007.

    Example:
        >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
        array([[ 5.,  7.],
               [13., 15.]])
    """

    stem, extras, saves = "max_pool", ("winner",), ("winner",)

    def bind(
        self,
        x: Array,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        layout: Layout | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array], dict[str, Any]]:
        sizes = self.windows(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        size = arguments.input_size(self.__name__, x, input_size)
        attrs = {"ceil_mode": bool(ceil_mode), "return_indices": bool(return_indices), "input_size": size}
        return (x,), {**sizes, **attrs, "layout": layout}

    def geometry(self, *, return_indices: bool = False, **attrs: Any) -> Geometry:
        return window_geometry(**attrs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return y, or (y, indices) with return_indices; takes what `bind` takes."""
        arrays, attrs = self.bind(*args, **kwargs)
        y, winner = self.run(arrays, attrs)
        return (y, self.indices(winner, **attrs)) if attrs["return_indices"] else y

    def infer(self, x: Array, *, layout: Any, **attrs: Any) -> tuple[Out, Out]:
        self.check_input(x)
        g = self.geometry(**attrs)
        self.check_windows(x, g, **attrs)
        return like(x, self.out_shape(g), layout), Out(self.out_shape(g), _winner_dtype(g), CHANNELS_LAST)

    def reference(self, be: Backend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = self.geometry(**attrs), be.xp
        shape = (g.batch, g.channels, *g.out_size)
        best, taken = xp.full(shape, -np.inf, x.dtype), xp.full(shape, -1, np.int64)
        for number, seen, exists in seen_by_outputs(be, g):
            value = with_three_axes(x)[seen]
            larger = xp.logical_or(value > best, value != value)
            wins = xp.logical_and(exists, xp.logical_or(taken < 0, larger))
            best, taken = xp.where(wins, value, best), xp.where(wins, number, taken)
        y[...] = best.reshape(y.shape)
        winner[...] = xp.maximum(taken, 0).reshape(y.shape).astype(winner.dtype)

    def cpu(self, be: Backend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        pixels = channels_last_memory(be.dense(x, CHANNELS_LAST))
        winners = channels_last_memory(winner)
        with be.dense_output(y, CHANNELS_LAST) as out:
            max_pool_cpu.pool(channels_last_memory(out), winners, pixels, g)

    def cuda(self, be: KernelBackend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        with be.dense_output(y, CHANNELS_LAST) as out:
            args = (out, winner, be.dense(x, CHANNELS_LAST), window_struct(be, g))
            be.launch(
                "pool.cu",
                "max_pool_forward",
                *grid_and_block(g.out_pixels, g.channels, y.itemsize, g.taps),
                args,
                REAL=y.dtype,
                INDEX=winner.dtype,
            )

    def infer_grad(self, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> tuple[Out]:
        self.require_floats(gy=gy)
        g = self.geometry(**attrs)
        self.require_saved(self.out_shape(g), _winner_dtype(g), winner=winner)
        self.require_saved(winner.shape, gy.dtype, gy=gy)
        return (like(gy, attrs["input_size"], layout),)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = self.geometry(**attrs), be.xp
        total = xp.zeros((g.batch, g.channels, *g.in_size), gy.dtype)
        for tap, seeing, exists in seeing_inputs(be, g):
            hit = xp.logical_and(exists, with_three_axes(winner)[seeing] == tap)
            total = total + xp.where(hit, with_three_axes(gy)[seeing], 0)
        gx[...] = total.reshape(gx.shape)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        gradient = channels_last_memory(be.dense(gy, CHANNELS_LAST))
        winners = channels_last_memory(be.dense(winner, CHANNELS_LAST))
        with be.dense_output(gx, CHANNELS_LAST) as out:
            max_pool_cpu.give_back(channels_last_memory(out), gradient, winners, g)

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g = self.geometry(**attrs)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            args = (out, be.dense(gy, CHANNELS_LAST), be.dense(winner, CHANNELS_LAST), window_struct(be, g))
            macros = {"REAL": gy.dtype, "INDEX": winner.dtype}
            be.launch(
                "pool.cu", "max_pool_backward", *grid_and_block(g.in_pixels, g.channels, gy.itemsize), args, **macros
            )

    def indices(self, winner: Array, **attrs: Any) -> Array:
        """Turn winners into PyTorch's indices; takes the attributes of the forward call and `input_size`."""
        attrs = self.bind(None, **attrs)[1]
        layout = attrs.pop("layout") or CONTIGUOUS
        g, be = self.geometry(**attrs), backend.of(winner)
        self.require_saved(self.out_shape(g), _winner_dtype(g), winner=winner)
        indices = be.empty(winner.shape, np.int64, layout)
        with be.dense_output(indices, CHANNELS_LAST) as out:
            winner = be.dense(winner, CHANNELS_LAST)
            if isinstance(be, KernelBackend):
                macros = {"REAL": np.float32, "INDEX": winner.dtype}
                args = (out, winner, window_struct(be, g))
                be.launch("pool.cu", "max_pool_indices", *grid_and_block(g.out_pixels, g.channels, 4), args, **macros)
            else:
                starts = opened(begins(g), trailing=1)
                channels_last_memory(out)[...] = max_pool_cpu.positions(g, channels_last_memory(winner), starts)[0]
        return indices


class AdaptiveMaxPool(MaxPool):
    """Largest element of each of `output_size` windows that divide the input as evenly as they can.

        y[n, c, i, j] = max of x[n, c, floor(i*H/OH) : ceil((i + 1)*H/OH), floor(j*W/OW) : ceil((j + 1)*W/OW)]

    written for two spatial axes; 1-D and 3-D likewise. Ties, NaN and the gradient are as in `max_pool2d`; an element
    that wins in several windows gets all their gradients. An output size of 1 is global pooling.

    Args:
        x: (N, C, *spatial), any float dtype.
        output_size: size of y, one int for all axes or one per axis; None keeps the input's.
        return_indices: also return where each maximum lies.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        y (N, C, *output_size), dtype of x; with return_indices also indices, int64 into the flattened spatial axes of
        x, PyTorch's form. `forward` returns (y, winner) as that of `max_pool2d`.

    Raises:
        ShapeError: x has no pixels, or output_size is out of range.
        DTypeError: x is not floating-point.

    Memory: the gradient reads the winners only, one byte per output for windows of up to 256 elements.

    Example:
        >>> adaptive_max_pool1d(np.array([[[1.0, 5.0, 2.0, 3.0, 4.0]]]), 2)
        array([[[5., 4.]]])
    """

    stem = "adaptive_max_pool"

    def bind(  # type: ignore[override]
        self,
        x: Array,
        output_size: int | Sequence[int | None] | None,
        return_indices: bool = False,
        layout: Layout | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.__name__, x, input_size)
        attrs = {"output_size": self.parts(output_size, size), "return_indices": bool(return_indices)}
        return (x,), {**attrs, "input_size": size, "layout": layout}

    def geometry(self, *, return_indices: bool = False, **attrs: Any) -> Geometry:
        return adaptive_geometry(**attrs)


def _winner_dtype(g: Geometry) -> np.dtype[Any]:
    return np.dtype(np.uint8 if g.taps <= 256 else np.int32)


max_pool1d, max_pool2d, max_pool3d = (MaxPool(axes) for axes in (1, 2, 3))
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (AdaptiveMaxPool(axes) for axes in (1, 2, 3))
