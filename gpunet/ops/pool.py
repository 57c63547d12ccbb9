"""Max pooling over one, two or three spatial axes, with the winners' positions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend, Layout, blas, layout_of
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.errors import ShapeError
from gpunet.ops.base import Op, Out
from gpunet.ops.geometry import Geometry, channels_last_memory, per_axis, triple, window_struct, with_three_axes

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]


class MaxPool(Op):
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

    extras, saves, gradients = ("winner",), ("winner",), ("x",)

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        self.axes = {"x": ("N", "C", *"DHW"[3 - spatial :])}
        super().__init__(f"max_pool{spatial}d")

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
        try:
            sizes = [
                per_axis(value, self.spatial)
                for value in (kernel_size, kernel_size if stride is None else stride, padding, dilation)
            ]
        except (TypeError, ValueError):
            sizes = []
        if not sizes or any(
            len(values) != self.spatial or min(values) < least
            for values, least in zip(sizes, (1, 1, 0, 1), strict=True)
        ):
            raise self.error(
                ShapeError,
                "a window size is out of range.",
                expected=f"an int or {self.spatial} ints each, padding >= 0, the others >= 1; got kernel_size="
                f"{kernel_size!r}, stride={stride!r}, padding={padding!r}, dilation={dilation!r}",
            )
        attrs = dict(zip(("kernel_size", "stride", "padding", "dilation"), sizes, strict=True))
        size = tuple(x.shape if input_size is None else input_size)
        return (x,), {**attrs, "ceil_mode": bool(ceil_mode), "input_size": size, "layout": layout}

    def __call__(self, x: Array, *args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        if len(args) > 5:
            args, return_indices = (*args[:5], False, *args[6:]), args[5]
        y, winner = self.forward(x, *args, **kwargs)
        return (y, self.indices(winner, *args, input_size=x.shape, **kwargs)) if return_indices else y

    def infer(self, x: Array, *, layout: Any, **attrs: Any) -> tuple[Out, Out]:
        self.require_floats(x=x)
        if x.ndim != self.spatial + 2:
            raise self.error(
                ShapeError,
                "x has the wrong number of axes.",
                expected=f"{self.spatial + 2} axes, got {x.ndim}",
                hint="a single image needs a batch axis: x[None]" if x.ndim == self.spatial + 1 else "",
                x=x,
            )
        if any(2 * p > k for p, k in zip(attrs["padding"], attrs["kernel_size"], strict=True)):
            raise self.error(
                ShapeError,
                "padding is larger than half of the window.",
                expected=f"2*padding <= kernel_size, got {attrs['padding']} and {attrs['kernel_size']}",
                x=x,
            )
        g = _geometry(**attrs)
        if min(g.out_size) < 1:
            raise self.error(
                ShapeError,
                "the window is larger than the padded input.",
                expected="dilation*(kernel_size - 1) + 1 <= size + 2*padding on each axis",
                hint="use a smaller kernel_size",
                x=x,
            )
        shape = self._out_shape(g)
        layout = layout or layout_of(x) or CONTIGUOUS
        return Out(shape, x.dtype, layout), Out(shape, _winner_dtype(g), CHANNELS_LAST)

    def _out_shape(self, g: Geometry) -> tuple[int, ...]:
        return (g.batch, g.channels, *g.out_size[3 - self.spatial :])

    def reference(self, be: Backend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = _geometry(**attrs), be.xp
        best: Any = None
        tap_of_best: Any = None
        for number, at, valid in _taps(g):
            value = _gather(be, with_three_axes(x), g, at)
            inside = be.from_numpy(valid)
            if best is None:
                best, seen = xp.where(inside, value, -np.inf), inside
                tap_of_best = xp.full(value.shape, number, winner.dtype)
                continue
            wins = xp.logical_and(
                inside, xp.logical_or(xp.logical_not(seen), xp.logical_or(value > best, value != value))
            )
            best, tap_of_best = xp.where(wins, value, best), xp.where(wins, number, tap_of_best)
            seen = xp.logical_or(seen, inside)
        y[...], winner[...] = best.reshape(y.shape), tap_of_best.reshape(y.shape).astype(winner.dtype)

    def cpu(self, be: Backend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = _geometry(**attrs)
        if any(g.padding) or not _windows_fit(g) or not y.size:
            self.reference(be, y, winner, x, layout=layout, **attrs)
            return
        x = be.dense(x, CHANNELS_LAST)
        with be.dense_output(y, CHANNELS_LAST) as out:
            best, taps, pixels = channels_last_memory(out), channels_last_memory(winner), channels_last_memory(x)
            blas.parallel(g.batch, lambda n: _pool_image(best[n], taps[n], pixels[n], g))
            if np.isnan(best).any():
                self.reference(be, y, winner, x, layout=layout, **attrs)
                if out is not y:
                    np.copyto(out, y)

    def cuda(self, be: KernelBackend, y: Array, winner: Array, x: Array, *, layout: Any, **attrs: Any) -> None:
        g = _geometry(**attrs)
        with be.dense_output(y, CHANNELS_LAST) as out:
            args = (out, winner, be.dense(x, CHANNELS_LAST), window_struct(be, g))
            macros = {"REAL": y.dtype, "INDEX": winner.dtype}
            be.launch("pool.cu", "max_pool_forward", blocks(y.size), 256, args, **macros)

    def infer_grad(self, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> tuple[Out]:
        self.require_floats(gy=gy)
        g = _geometry(**attrs)
        self.require_saved(self._out_shape(g), _winner_dtype(g), winner=winner)
        self.require_saved(winner.shape, gy.dtype, gy=gy)
        return (Out(attrs["input_size"], gy.dtype, layout or layout_of(gy) or CONTIGUOUS),)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g, xp = _geometry(**attrs), be.xp
        size = tuple(
            max(n + 2 * p, (o - 1) * s + d * (k - 1) + 1)
            for n, p, o, s, d, k in zip(g.in_size, g.padding, g.out_size, g.stride, g.dilation, g.window, strict=True)
        )
        total = xp.zeros((g.batch, g.channels, *size), gy.dtype)
        gy5, winner5 = with_three_axes(gy), with_three_axes(winner)
        for number, at, _ in _taps(g):
            seen = (slice(None), slice(None), *at)
            total[seen] = total[seen] + xp.where(winner5 == number, gy5, 0)
        inside = tuple(slice(p, p + n) for p, n in zip(g.padding, g.in_size, strict=True))
        gx[...] = total[(slice(None), slice(None), *inside)].reshape(gx.shape)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g = _geometry(**attrs)
        overlapping = any((k - 1) * d >= s for k, d, s in zip(g.window, g.dilation, g.stride, strict=True))
        if any(g.padding) or overlapping or not _windows_fit(g):
            self.grad_reference(be, gx, gy, winner, layout=layout, **attrs)
            return
        covered = all(
            o * s == n and k == s for o, s, n, k in zip(g.out_size, g.stride, g.in_size, g.window, strict=True)
        )
        gradient = channels_last_memory(be.dense(gy, CHANNELS_LAST))
        bits = np.dtype(f"i{gy.dtype.itemsize}")
        with be.dense_output(gx, CHANNELS_LAST) as out:
            if not covered:
                out.fill(0)
            images, taps, gradient = (
                channels_last_memory(out).view(bits),
                channels_last_memory(winner),
                gradient.view(bits),
            )

            def scatter(n: int) -> None:
                for number, at, _ in _taps(g):
                    # A mask of ones or zeros keeps or clears all bits: exact for infinities too, and fast.
                    mask = np.negative((taps[n] == number).view(np.int8))
                    np.bitwise_and(gradient[n], mask, out=images[n][at])

            blas.parallel(g.batch, scatter)

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, winner: Array, *, layout: Any, **attrs: Any) -> None:
        g = _geometry(**attrs)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            args = (out, be.dense(gy, CHANNELS_LAST), be.dense(winner, CHANNELS_LAST), window_struct(be, g))
            macros = {"REAL": gy.dtype, "INDEX": winner.dtype}
            be.launch("pool.cu", "max_pool_backward", blocks(gx.size), 256, args, **macros)

    def indices(self, winner: Array, *args: Any, **kwargs: Any) -> Array:
        """Turn winners into PyTorch's indices; takes the attributes of the forward call and `input_size`."""
        attrs = self.bind(None, *args, **kwargs)[1]
        layout = attrs.pop("layout") or CONTIGUOUS
        g, be = _geometry(**attrs), backend.of(winner)
        self.require_saved(self._out_shape(g), _winner_dtype(g), winner=winner)
        indices = be.empty(winner.shape, np.int64, layout)
        if isinstance(be, KernelBackend):
            with be.dense_output(indices, CHANNELS_LAST) as out:
                launch_args = (out, be.dense(winner, CHANNELS_LAST), window_struct(be, g))
                macros = {"REAL": np.float32, "INDEX": winner.dtype}
                be.launch("pool.cu", "max_pool_indices", blocks(indices.size), 256, launch_args, **macros)
            return indices
        taps = np.unravel_index(with_three_axes(winner).astype(np.int64), g.window)
        flat = np.zeros((), np.int64)
        outputs = np.ogrid[tuple(slice(n) for n in g.out_size)]
        for n, s, p, d, tap, out in zip(g.in_size, g.stride, g.padding, g.dilation, taps, outputs, strict=True):
            flat = flat * n + (out * s - p + tap * d)
        np.copyto(indices, flat.reshape(winner.shape))
        return indices


def _pool_image(best: Array, winner: Array, pixels: Array, g: Geometry) -> None:
    """Pool one image in cache; a later tap wins only if it is larger, so the first maximum stays."""
    mask = np.empty(best.shape, np.bool_)
    number_if_larger = np.empty(best.shape, winner.dtype)
    for number, at, _ in _taps(g):
        value = pixels[at]
        if number == 0:
            np.copyto(best, value)
            winner.fill(0)
            continue
        np.greater(value, best, out=mask)
        np.multiply(mask, winner.dtype.type(number), out=number_if_larger)
        np.maximum(winner, number_if_larger, out=winner)
        np.maximum(best, value, out=best)


def _winner_dtype(g: Geometry) -> np.dtype[Any]:
    return np.dtype(np.uint8 if g.taps <= 256 else np.int32)


def _windows_fit(g: Geometry) -> bool:
    """Say whether every window lies inside the unpadded input."""
    sizes = zip(g.in_size, g.out_size, g.stride, g.dilation, g.window, strict=True)
    return all((o - 1) * s + d * (k - 1) < n for n, o, s, d, k in sizes)


@functools.lru_cache(maxsize=256)
def _taps(g: Geometry) -> tuple[tuple[int, tuple[slice, ...], Any], ...]:
    """Return each tap: its number, the padded pixels it reads, and which outputs see a real pixel through it."""
    taps = []
    for number, tap in enumerate(itertools.product(*map(range, g.window))):
        at = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, s, o in zip(tap, g.dilation, g.stride, g.out_size, strict=True)
        )
        valid = np.ones((), np.bool_)
        for axis, (t, d, s, o, p, n) in enumerate(
            zip(tap, g.dilation, g.stride, g.out_size, g.padding, g.in_size, strict=True)
        ):
            position = np.arange(o) * s + t * d - p
            inside = (position >= 0) & (position < n)
            valid = valid & inside.reshape([-1 if a == axis else 1 for a in range(3)])
        taps.append((number, at, valid))
    return tuple(taps)


def _gather(be: Backend, x: Array, g: Geometry, at: tuple[slice, ...]) -> Array:
    """Read padded pixels of x (N, C, D, H, W); what lies outside reads as 0."""
    size = [max(part.stop, p + n) for part, p, n in zip(at, g.padding, g.in_size, strict=True)]
    padded = be.xp.zeros((g.batch, g.channels, *size), x.dtype)
    inside = tuple(slice(p, p + n) for p, n in zip(g.padding, g.in_size, strict=True))
    padded[(slice(None), slice(None), *inside)] = x
    return padded[(slice(None), slice(None), *at)]


@functools.lru_cache(maxsize=4096)
def _geometry(
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
    input_size: tuple[int, ...],
) -> Geometry:
    """Return the sizes with three spatial axes; an output size below 1 means that the window does not fit."""
    out_size = []
    for n, k, s, p, d in zip(input_size[2:], kernel_size, stride, padding, dilation, strict=True):
        span = n + 2 * p - d * (k - 1) - 1
        out = -(-span // s) + 1 if ceil_mode else span // s + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1  # the last window must start inside the input or its left padding
        out_size.append(out)
    return Geometry(
        batch=input_size[0],
        channels=input_size[1],
        outputs=input_size[1],
        groups=1,
        in_size=triple(input_size[2:], 1),
        out_size=triple(out_size, 1),
        window=triple(kernel_size, 1),
        stride=triple(stride, 1),
        padding=triple(padding, 0),
        dilation=triple(dilation, 1),
    )


max_pool1d, max_pool2d, max_pool3d = MaxPool(1), MaxPool(2), MaxPool(3)
