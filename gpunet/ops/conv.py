"""Convolution over one, two or three spatial axes, with both gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from gpunet import backend
from gpunet.backend import CHANNELS_LAST, Array, Backend, Layout
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out, like
from gpunet.ops.conv_cuda import Cuda
from gpunet.ops.conv_products import CPU, REFERENCE, Products
from gpunet.ops.geometry import Geometry, sizes_per_axis, triple

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


class Convolution(Op):
    """Base of convolution and its transpose: a subclass says which products make the output and the gradients."""

    inputs, optional, saves = ("x", "w", "b"), ("b",), ("x", "w")
    gradients = inputs
    stem: str

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        letters = "DHW"[3 - spatial :]
        self.axes = self.named_axes(letters, tuple(f"K{letter}" for letter in letters))
        self.axes["gy"] = ("N", "O", *(f"O{letter}" for letter in letters))
        super().__init__(f"{self.stem}{spatial}d")

    def named_axes(self, spatial: str, window: tuple[str, ...]) -> dict[str, Sequence[str]]:
        """Return the axis letters of x, w and b."""
        raise NotImplementedError

    def geometry(
        self, x_shape: tuple[int, ...], w_shape: tuple[int, ...], *, layout: Any, allow_tf32: bool, **window: Any
    ) -> Geometry:
        """Return the sizes of the convolution behind a call."""
        raise NotImplementedError

    def make(self, by: Products, be: Backend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        """Fill y."""
        raise NotImplementedError

    def make_gradients(
        self, by: Products, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, g: Geometry
    ) -> None:
        """Fill the gradients that are not None."""
        raise NotImplementedError

    def reference(self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        self.make(REFERENCE, be, y, x, w, b, **attrs)

    def cpu(self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        self.make(CPU, be, y, x, w, b, **attrs)

    def cuda(self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        self.make(Cuda(attrs["allow_tf32"]), be, y, x, w, b, **attrs)

    def grad_reference(
        self, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any
    ) -> None:
        self.make_gradients(REFERENCE, be, gx, gw, gb, gy, x, w, self.geometry(x.shape, w.shape, **attrs))

    def grad_cpu(self, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any) -> None:
        gy = be.dense(gy, CHANNELS_LAST)  # once for all three
        self.make_gradients(CPU, be, gx, gw, gb, gy, x, w, self.geometry(x.shape, w.shape, **attrs))

    def grad_cuda(
        self, be: KernelBackend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any
    ) -> None:
        gy = be.dense(gy, CHANNELS_LAST)  # once for all three
        by, g = Cuda(attrs["allow_tf32"]), self.geometry(x.shape, w.shape, **attrs)
        self.make_gradients(by, be, gx, gw, gb, gy, x, w, g)

    # Arguments and checks.

    def per_axis(self, name: str, value: int | Sequence[int], least: int) -> tuple[int, ...]:
        """Return one int per spatial axis, each at least `least`."""
        return sizes_per_axis(self.__name__, name, value, self.spatial, least)

    def check_axes(self, x: Array, w: Array, b: Array | None) -> None:
        """Raise unless the inputs are floats with the right number of axes."""
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


class Conv(Convolution):
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
        allow_tf32: on a GPU, round float32 factors to TF32 (10 bits of mantissa) for tensor cores; sums stay float32.
        activation: "relu" clips y in the same pass, with the bits of `relu(y)`; gradients then go through `relu.grad`
            first, and through this op without an activation.

    Returns:
        (N, O, *out), dtype of x, with out = (size + 2*padding - dilation*(window - 1) - 1) // stride + 1.

    Raises:
        ShapeError: channels or groups do not fit, the window is larger than the padded input, or a stride,
            padding or dilation is out of range.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: no column buffer on the GPU; the CPU uses blocks of columns of about a megabyte per thread. The
    gradient reads x and w.
    Precision: on the CPU, 3 x 3 windows of many channels take minimal filtering. Rounding is then relative to the
    largest products of a tile of 2 x 2 outputs, and an infinity makes NaN of the tile.
    Source: LeCun et al. 1989; Chellapilla et al. 2006 (GEMM); Lavin and Gray 2016 (minimal filtering); Dumoulin and
    Visin 2016 (arithmetic).

    Example:
        >>> conv2d(np.ones((1, 3, 8, 8)), np.ones((4, 3, 3, 3)), stride=2).shape
        (1, 4, 3, 3)
    """

    stem = "conv"

    def named_axes(self, spatial: str, window: tuple[str, ...]) -> dict[str, Sequence[str]]:
        return {"x": ("N", "C", *spatial), "w": ("O", "C/groups", *window), "b": ("O",)}

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
        allow_tf32: bool = False,
        activation: str | None = None,
    ) -> tuple[tuple[Array, Array, Array | None], dict[str, Any]]:
        attrs = {
            "stride": self.per_axis("stride", stride, 1),
            "padding": self.per_axis("padding", padding, 0),
            "dilation": self.per_axis("dilation", dilation, 1),
            "groups": arguments.integer(self.__name__, "groups", groups),
            "layout": layout,
            "allow_tf32": bool(allow_tf32),
            "activation": arguments.activation(self.__name__, activation),
        }
        return (x, w, b), attrs

    def geometry(
        self,
        x_shape: tuple[int, ...],
        w_shape: tuple[int, ...],
        *,
        layout: Any,
        allow_tf32: bool,
        activation: str | None = None,
        **window: Any,
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
        activation: str | None = None,
        **window: Any,
    ) -> tuple[Out]:
        self.check_axes(x, w, b)
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
        return (like(x, (x.shape[0], w.shape[0], *g.out_size[3 - self.spatial :]), layout),)

    def make(self, by: Products, be: Backend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        by.forward(be, y, x, w, b, self.geometry(x.shape, w.shape, **attrs), attrs["activation"] == "relu")

    def make_gradients(
        self, by: Products, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, g: Geometry
    ) -> None:
        if gx is not None:
            by.input_gradient(be, gx, gy, w, None, g)
        if gw is not None or gb is not None:
            by.weight_gradient(be, gw, gb, gy, x, g)

    def infer_grad(self, gy: Array, x: Array, w: Array, **attrs: Any) -> tuple[Out, Out, Out]:
        arguments.refuse_activation(self.__name__, attrs["activation"])
        expected = self.infer(x, w, None, **attrs)[0]
        self.require_saved(expected.shape, expected.dtype, gy=gy)
        return like(x), like(w), Out(w.shape[:1], w.dtype)

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


conv1d, conv2d, conv3d = (Conv(axes) for axes in (1, 2, 3))
conv1d_input, conv2d_input, conv3d_input = (op.input_gradient for op in (conv1d, conv2d, conv3d))
conv1d_weight, conv2d_weight, conv3d_weight = (op.weight_gradient for op in (conv1d, conv2d, conv3d))
