"""Convolution over one, two or three spatial axes, with both gradients."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from gpunet import backend
from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend, Layout, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.errors import ShapeError
from gpunet.ops import im2col
from gpunet.ops.base import Op, Out, like
from gpunet.ops.geometry import Geometry, channels_last_memory, per_axis, triple, window_struct, with_three_axes
from gpunet.ops.reduce import sum_partials, sum_to_channels

__all__ = [
    "conv1d",
    "conv1d_input",
    "conv1d_weight",
    "conv2d",
    "conv2d_input",
    "conv2d_weight",
    "conv3d",
    "conv3d_input",
    "conv3d_weight",
]

_TILE = 64  # as in kernels/gemm.cuh
_WANTED_BLOCKS = 264  # two per multiprocessor of an H100-class GPU
_MIN_PIXELS_PER_SPLIT = 512


class Conv(Op):
    """Cross-correlation of a batch of images with a bank of filters.

        y[n, o, i, j] = b[o] + sum_{c, k, l} x[n, c, i*SH + k*DH - PH, j*SW + l*DW - PW] * w[o, c, k, l]

    written for two spatial axes; 1-D and 3-D likewise. Positions in the padding count as zero. With groups,
    output channel o sees the input channels of its own group only.

    Args:
        x: (N, C, *spatial), any float dtype.
        w: (O, C / groups, *window), dtype of x.
        b: (O,), or None for no bias.
        stride, padding, dilation: pixels, one int for all axes or one per axis; stride and dilation >= 1.
        groups: number of groups; divides C and O.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        (N, O, *out), dtype of x, with out = (size + 2*padding - dilation*(window - 1) - 1) // stride + 1.

    Raises:
        ShapeError: channels or groups do not fit, the window is larger than the padded input, or a stride,
            padding or dilation is out of range.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: no column buffer on the GPU; the CPU uses blocks of columns of about a megabyte per thread. The
    gradient reads x and w.
    Source: LeCun et al. 1989; Chellapilla et al. 2006 (GEMM); Dumoulin and Visin 2016 (arithmetic).

    Example:
        >>> conv2d(np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3)), stride=2).shape
        (1, 4, 3, 3)
    """

    inputs, optional, saves = ("x", "w", "b"), ("b",), ("x", "w")
    gradients = inputs

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        letters = "DHW"[3 - spatial :]
        self.axes = {
            "x": ("N", "C", *letters),
            "w": ("O", "C/groups", *(f"K{letter}" for letter in letters)),
            "b": ("O",),
            "gy": ("N", "O", *(f"O{letter}" for letter in letters)),
        }
        super().__init__(f"conv{spatial}d")

    def bind(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        layout: Layout | None = None,
    ) -> tuple[tuple[Array, Array, Array | None], dict[str, Any]]:
        attrs = {
            "stride": self._per_axis("stride", stride, 1),
            "padding": self._per_axis("padding", padding, 0),
            "dilation": self._per_axis("dilation", dilation, 1),
            "groups": groups,
            "layout": layout,
        }
        return (x, w, b), attrs

    def _per_axis(self, name: str, value: int | Sequence[int], least: int) -> tuple[int, ...]:
        """Return one int per spatial axis, each at least `least`."""
        try:
            values = per_axis(value, self.spatial)
        except (TypeError, ValueError):
            values = ()
        if len(values) != self.spatial or min(values) < least:
            raise self.error(
                ShapeError,
                f"{name} is out of range.",
                expected=f"an int or {self.spatial} ints, each >= {least}, got {value!r}",
            )
        return values

    def infer(self, x: Array, w: Array, b: Array | None, *, groups: int, layout: Any, **window: Any) -> tuple[Out]:
        self.require_floats(x=x, w=w, b=b)
        if x.ndim != self.spatial + 2 or w.ndim != self.spatial + 2:
            raise self.error(
                ShapeError,
                "x or w has the wrong number of axes.",
                expected=f"{self.spatial + 2} axes each, got {x.ndim} and {w.ndim}",
                hint="a single image needs a batch axis: x[None]" if x.ndim == self.spatial + 1 else "",
                x=x,
                w=w,
            )
        if groups < 1 or w.shape[0] % groups:
            raise self.error(
                ShapeError,
                "groups does not divide the output channels.",
                expected=f"a divisor of O, got {groups}",
                w=w,
            )
        if x.shape[1] != w.shape[1] * groups:
            raise self.error(
                ShapeError,
                "the input's channels do not match the weight.",
                expected=f"C = C/groups * groups, got {x.shape[1]} and {w.shape[1]} * {groups}",
                hint=f"build nn.Conv{self.spatial}d(in_channels={x.shape[1]}, ...), or move the channel axis of x to 1",
                x=x,
                w=w,
            )
        if b is not None and b.shape != w.shape[:1]:
            raise self.error(ShapeError, "the bias does not match the weight.", expected="(O,)", w=w, b=b)
        g = _geometry(x.shape, w.shape, groups, **window)
        if min(g.out_size) < 1 or 0 in w.shape:
            raise self.error(
                ShapeError,
                "the window is larger than the padded input.",
                expected="dilation*(window - 1) + 1 <= size + 2*padding on each axis",
                hint="use a smaller kernel or more padding",
                x=x,
                w=w,
            )
        shape = (x.shape[0], w.shape[0], *g.out_size[3 - self.spatial :])
        return (Out(shape, x.dtype, layout or layout_of(x) or CONTIGUOUS),)

    def reference(
        self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, *, layout: Any, **attrs: Any
    ) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        padded, w5 = _padded(be, with_three_axes(x), g), with_three_axes(w)
        total = be.xp.zeros((g.batch, g.outputs, *g.out_size), y.dtype)
        if b is not None:
            total = total + b.reshape(1, -1, 1, 1, 1)
        for tap, outs, channels, at in _walk(g):
            kernel = w5[(outs, slice(None), *tap)][None, :, :, None, None, None]
            patch = padded[(slice(None), channels, *at)][:, None]
            total[:, outs] = total[:, outs] + be.xp.sum(patch * kernel, axis=2)
        y[...] = total.reshape(y.shape)

    def cpu(self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, *, layout: Any, **attrs: Any) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        with be.dense_output(y, CHANNELS_LAST) as out:
            im2col.forward(
                channels_last_memory(out),
                channels_last_memory(be.dense(x, CHANNELS_LAST)),
                channels_last_memory(be.dense(w, CHANNELS_LAST)),
                b,
                g,
            )

    def cuda(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, *, layout: Any, **attrs: Any
    ) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        grid = (blocks(g.out_pixels, _TILE), blocks(g.outputs // g.groups, _TILE), g.groups)
        bias = None if b is None else be.dense(b, CONTIGUOUS)
        with be.dense_output(y, CHANNELS_LAST) as out:
            args = (out, be.dense(x, CHANNELS_LAST), be.dense(w, CHANNELS_LAST), bias, window_struct(be, g))
            be.launch("conv.cu", "conv_forward", grid, 256, args, REAL=y.dtype)

    def infer_grad(self, gy: Array, x: Array, w: Array, **attrs: Any) -> tuple[Out, Out, Out]:
        expected = self.infer(x, w, None, **attrs)[0]
        self.require_saved(expected.shape, expected.dtype, gy=gy)
        return like(x), like(w), Out(w.shape[:1], w.dtype)

    def grad_reference(
        self,
        be: Backend,
        gx: Any,
        gw: Any,
        gb: Any,
        gy: Array,
        x: Array,
        w: Array,
        *,
        layout: Any,
        **attrs: Any,
    ) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        padded, w5, gy5 = _padded(be, with_three_axes(x), g), with_three_axes(w), with_three_axes(gy)
        total_x, total_w = be.xp.zeros(padded.shape, gy.dtype), be.xp.zeros(w5.shape, gy.dtype)
        for tap, outs, channels, at in _walk(g):
            gradient = gy5[:, outs][:, :, None]
            kernel = w5[(outs, slice(None), *tap)][None, :, :, None, None, None]
            seen = (slice(None), channels, *at)
            total_x[seen] = total_x[seen] + be.xp.sum(gradient * kernel, axis=1)
            total_w[(outs, slice(None), *tap)] = be.xp.sum(gradient * padded[seen][:, None], axis=(0, 3, 4, 5))
        if gx is not None:
            gx[...] = total_x[_inside(g)].reshape(gx.shape)
        if gw is not None:
            gw[...] = total_w.reshape(gw.shape)
        if gb is not None:
            gb[...] = be.xp.sum(gy5, axis=(0, 2, 3, 4))

    def grad_cpu(
        self,
        be: Backend,
        gx: Any,
        gw: Any,
        gb: Any,
        gy: Array,
        x: Array,
        w: Array,
        *,
        layout: Any,
        **attrs: Any,
    ) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        gradient = channels_last_memory(be.dense(gy, CHANNELS_LAST))
        with be.dense_output(gx, CHANNELS_LAST) as out:
            if out is not None:
                im2col.input_gradient(
                    channels_last_memory(out), gradient, channels_last_memory(be.dense(w, CHANNELS_LAST)), g
                )
        with be.dense_output(gw, CHANNELS_LAST) as out:
            if out is not None:
                im2col.weight_gradient(
                    channels_last_memory(out), gb, gradient, channels_last_memory(be.dense(x, CHANNELS_LAST)), g
                )
            elif gb is not None:
                gradient.sum(axis=(0, 1, 2, 3), out=gb)

    def grad_cuda(
        self,
        be: KernelBackend,
        gx: Any,
        gw: Any,
        gb: Any,
        gy: Array,
        x: Array,
        w: Array,
        *,
        layout: Any,
        **attrs: Any,
    ) -> None:
        g = _geometry(x.shape, w.shape, **attrs)
        gy = be.dense(gy, CHANNELS_LAST)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            if out is not None:
                grid = (blocks(g.in_pixels, _TILE), blocks(g.channels // g.groups, _TILE), g.groups)
                args = (out, gy, be.dense(w, CHANNELS_LAST), window_struct(be, g))
                be.launch("conv.cu", "conv_backward_input", grid, 256, args, REAL=gy.dtype)
        with be.dense_output(gw, CHANNELS_LAST) as out:
            if out is not None:
                _weight_gradient_cuda(be, out, gy, be.dense(x, CHANNELS_LAST), g)
        if gb is not None:
            sum_to_channels(be, gb, gy)

    def input_gradient(self, input_size: Sequence[int], w: Array, gy: Array, **attrs: Any) -> Array:
        """Return the gradient of the input from its size, the weight and gy, as torch.nn.grad does.

        Example:
            >>> conv2d_input((1, 1, 4, 4), np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))).sum()
            np.float64(36.0)
        """
        return self.grad(gy, _stand_in(w, input_size), w, needs=("x",), **attrs)

    def weight_gradient(self, x: Array, weight_size: Sequence[int], gy: Array, **attrs: Any) -> Array:
        """Return the gradient of the weight from the input, the weight's size and gy, as torch.nn.grad does.

        Example:
            >>> conv2d_weight(np.ones((1, 1, 4, 4)), (1, 1, 3, 3), np.ones((1, 1, 2, 2))).sum()
            np.float64(36.0)
        """
        return self.grad(gy, x, _stand_in(x, weight_size), needs=("w",), **attrs)


def _stand_in(array: Array, shape: Sequence[int]) -> Array:
    """Return an array that has a shape but no memory to speak of, where only the shape is read."""
    be = backend.of(array)
    return be.xp.broadcast_to(be.zeros((1,), array.dtype), tuple(shape))


def _weight_gradient_cuda(be: KernelBackend, gw: Array, gy: Array, x: Array, g: Geometry) -> None:
    """Sum over splits of the output pixels: enough blocks for a GPU, however small the filters are."""
    depth = g.taps * g.channels // g.groups
    tiles = blocks(g.outputs // g.groups, _TILE), blocks(depth, _TILE)
    wanted = blocks(_WANTED_BLOCKS, tiles[0] * tiles[1] * g.groups)
    splits = max(1, min(wanted, blocks(g.out_pixels, _MIN_PIXELS_PER_SPLIT)))
    per_split = blocks(g.out_pixels, splits)
    sum_dtype = accumulator(gw.dtype)
    direct = splits == 1 and gw.dtype == sum_dtype
    out = gw if direct else be.empty((splits, gw.size), sum_dtype)
    args = (out, gy, x, window_struct(be, g), per_split)
    be.launch("conv.cu", "conv_backward_weight", (*tiles, g.groups * splits), 256, args, REAL=gy.dtype)
    if not direct:
        sum_partials(be, gw, out)


@functools.lru_cache(maxsize=4096)
def _geometry(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    groups: int,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Geometry:
    """Return the sizes with three spatial axes; an output size below 1 means that the window does not fit."""
    out_size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x_shape[2:], w_shape[2:], stride, padding, dilation, strict=True)
    ]
    return Geometry(
        batch=x_shape[0],
        channels=x_shape[1],
        outputs=w_shape[0],
        groups=groups,
        in_size=triple(x_shape[2:], 1),
        out_size=triple(out_size, 1),
        window=triple(w_shape[2:], 1),
        stride=triple(stride, 1),
        padding=triple(padding, 0),
        dilation=triple(dilation, 1),
    )


def _inside(g: Geometry) -> tuple[slice, ...]:
    """Index of the real pixels within the padded input."""
    spatial = (slice(p, p + n) for p, n in zip(g.padding, g.in_size, strict=True))
    return (slice(None), slice(None), *spatial)


def _padded(be: Backend, x: Array, g: Geometry) -> Array:
    """Return x (N, C, D, H, W) with zeros round it."""
    size = (n + 2 * p for n, p in zip(g.in_size, g.padding, strict=True))
    padded = be.xp.zeros((g.batch, g.channels, *size), x.dtype)
    padded[_inside(g)] = x
    return padded


def _walk(g: Geometry) -> Iterator[tuple[tuple[int, ...], slice, slice, tuple[slice, ...]]]:
    """Yield each tap and group: tap, output channels, input channels, and the padded pixels that the tap reads."""
    outputs, channels = g.outputs // g.groups, g.channels // g.groups
    for tap in itertools.product(*map(range, g.window)):
        at = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, g.dilation, g.stride, g.out_size, strict=True)
        )
        for group in range(g.groups):
            outs = slice(group * outputs, (group + 1) * outputs)
            yield tap, outs, slice(group * channels, (group + 1) * channels), at


conv1d, conv2d, conv3d = Conv(1), Conv(2), Conv(3)
conv1d_input, conv2d_input, conv3d_input = (op.input_gradient for op in (conv1d, conv2d, conv3d))
conv1d_weight, conv2d_weight, conv3d_weight = (op.weight_gradient for op in (conv1d, conv2d, conv3d))
