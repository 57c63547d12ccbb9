"""Transposed convolution over one, two or three spatial axes, with all gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from gpunet.backend import Array, Backend, Layout
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Out, like
from gpunet.ops.conv import Convolution
from gpunet.ops.conv_products import Products
from gpunet.ops.geometry import Geometry, triple

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


class ConvTranspose(Convolution):
    """Transpose of convolution: each pixel adds its value times the filter to the output around it.

        y[n, o, i*SH + k*DH - PH, j*SW + l*DW - PW] += x[n, c, i, j] * w[c, o, k, l]    for all c, i, j, k, l

    from y = b[o], written for two spatial axes and one group; 1-D and 3-D likewise. What falls into the padding is
    dropped. As a linear map of x it is the transpose of the convolution with the same weight and arguments, whose
    input gradient is this op's forward, and whose forward is this op's input gradient.

    Args:
        x: (N, C, *spatial), any float dtype.
        w: (C, O / groups, *window), dtype of x.
        b: (O,), or None for no bias.
        stride, padding, dilation: pixels, one int for all axes or one per axis; stride and dilation >= 1.
        output_padding: pixels to add at the end of each axis of y, less than stride or less than dilation: of the
            sizes that a strided convolution maps to the size of x, it says which.
        groups: number of groups; divides C and O.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.
        allow_tf32: on a GPU, round float32 factors to TF32 (10 bits of mantissa) for tensor cores; sums stay float32.

    Returns:
        (N, O, *out), dtype of x, with
        out = (size - 1)*stride - 2*padding + dilation*(window - 1) + 1 + output_padding.

    Raises:
        ShapeError: channels or groups do not fit, nothing is left inside the padding, or a stride, padding, dilation
            or output_padding is out of range.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: no column buffer on the GPU; the CPU uses blocks of columns of about a megabyte per thread. The
    gradient reads x and w.
    Source: Zeiler et al. 2010; Dumoulin and Visin 2016 (arithmetic).

    Example:
        >>> conv_transpose2d(np.ones((1, 3, 8, 8)), np.ones((3, 4, 2, 2)), stride=2).shape
        (1, 4, 16, 16)
    """

    stem = "conv_transpose"

    def named_axes(self, spatial: str, window: tuple[str, ...]) -> dict[str, Sequence[str]]:
        return {"x": ("N", "C", *spatial), "w": ("C", "O/groups", *window), "b": ("O",)}

    def bind(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        dilation: int | Sequence[int] = 1,
        layout: Layout | None = None,
        allow_tf32: bool = False,
    ) -> tuple[tuple[Array, Array, Array | None], dict[str, Any]]:
        attrs = {
            "stride": self.per_axis("stride", stride, 1),
            "padding": self.per_axis("padding", padding, 0),
            "output_padding": self.per_axis("output_padding", output_padding, 0),
            "groups": arguments.integer(self.__name__, "groups", groups),
            "dilation": self.per_axis("dilation", dilation, 1),
            "layout": layout,
            "allow_tf32": bool(allow_tf32),
        }
        return (x, w, b), attrs

    def geometry(
        self, x_shape: tuple[int, ...], w_shape: tuple[int, ...], *, layout: Any, allow_tf32: bool, **window: Any
    ) -> Geometry:
        return _geometry(x_shape, w_shape, **window)

    def infer(
        self,
        x: Array,
        w: Array,
        b: Array | None,
        *,
        groups: int,
        layout: Any,
        allow_tf32: bool = False,
        **window: Any,
    ) -> tuple[Out]:
        self.check_axes(x, w, b)
        if x.shape[1] != w.shape[0]:
            raise self.error(
                ShapeError,
                "the input's channels do not match the weight.",
                expected=f"C of x = C of w, got {x.shape[1]} and {w.shape[0]}",
                hint=f"build nn.ConvTranspose{self.spatial}d(in_channels={x.shape[1]}, ...), or move the channel axis "
                "of x to 1",
                x=x,
                w=w,
            )
        if groups < 1 or w.shape[0] % groups:
            raise self.error(
                ShapeError, "groups does not divide the input channels.", expected=f"a divisor of C, got {groups}", w=w
            )
        if b is not None and b.shape != (w.shape[1] * groups,):
            expected = f"(O,) = ({w.shape[1] * groups},)"
            raise self.error(ShapeError, "the bias does not match the weight.", expected=expected, w=w, b=b)
        most = tuple(map(max, window["stride"], window["dilation"]))
        if any(extra >= limit for extra, limit in zip(window["output_padding"], most, strict=True)):
            raise self.error(
                ShapeError,
                "output_padding is out of range.",
                expected=f"less than stride or less than dilation on each axis, got {window['output_padding']} and "
                f"stride={window['stride']}, dilation={window['dilation']}",
            )
        g = _geometry(x.shape, w.shape, groups, **window)
        if min(*g.in_size, *g.out_size) < 1 or 0 in w.shape:
            raise self.error(
                ShapeError,
                "nothing is left inside the padding.",
                expected="(size - 1)*stride + dilation*(window - 1) + output_padding >= 2*padding on each axis",
                hint="use less padding",
                x=x,
                w=w,
            )
        return (like(x, (x.shape[0], g.channels, *g.in_size[3 - self.spatial :]), layout),)

    def infer_grad(self, gy: Array, x: Array, w: Array, **attrs: Any) -> tuple[Out, Out, Out]:
        expected = self.infer(x, w, None, **attrs)[0]
        self.require_saved(expected.shape, expected.dtype, gy=gy)
        return like(x), like(w), Out(expected.shape[1:2], w.dtype)

    def make(self, by: Products, be: Backend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        by.input_gradient(be, y, x, w, b, self.geometry(x.shape, w.shape, **attrs))

    def make_gradients(
        self, by: Products, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, g: Geometry
    ) -> None:
        if gx is not None:
            by.forward(be, gx, gy, w, None, g)
        if gw is not None:
            by.weight_gradient(be, gw, None, x, gy, g)
        if gb is not None:
            by.weight_gradient(be, None, gb, gy, x, g)


@functools.lru_cache(maxsize=4096)
def _geometry(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    groups: int,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Geometry:
    """Return the sizes of the convolution that leads from y to x; one below 1 means that the window does not fit."""
    in_size = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + extra
        for n, k, s, p, d, extra in zip(
            x_shape[2:], w_shape[2:], stride, padding, dilation, output_padding, strict=True
        )
    ]
    return Geometry(
        batch=x_shape[0],
        channels=w_shape[1] * groups,
        outputs=w_shape[0],
        groups=groups,
        in_size=triple(in_size, 1),
        out_size=triple(x_shape[2:], 1),
        window=triple(w_shape[2:], 1),
        stride=triple(stride, 1),
        padding=triple(padding, 0),
        dilation=triple(dilation, 1),
    )


conv_transpose1d, conv_transpose2d, conv_transpose3d = (ConvTranspose(axes) for axes in (1, 2, 3))
