"""Max unpooling over one, two or three spatial axes: maxima go back to where they came from."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, Array, Backend, Layout, blas, of
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops.arguments import conversion
from gpunet.ops.base import Out, like
from gpunet.ops.geometry import channels_last_memory
from gpunet.ops.pool import Pool, grid_and_block

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]

_LANES, _ROWS = 8, 32  # as in kernels/unpool.cu


class MaxUnpool(Pool):
    """Partial inverse of max pooling: each value goes to the pixel that its index names, zero to all others.

        y[n, c, indices[n, c, i]] = x[n, c, i]

    where i and the indices count the pixels of all spatial axes together, in C order. Where indices repeat, the last
    value stays, in the order of i, as in PyTorch on the CPU; max pooling makes such indices where windows overlap, and
    their values are equal then. The gradient is gx[n, c, i] = gy[n, c, indices[n, c, i]], for each of them.

    Args:
        x: (N, C, *spatial), any float dtype.
        indices: int64, shape of x: what max pooling returns with return_indices.
        kernel_size, stride, padding: those of the pooling; stride is kernel_size by default.
        output_size: size of y, spatial or whole, less than one stride away from
            (size - 1)*stride - 2*padding + kernel_size, which it is by default.
        layout: memory layout of y, "contiguous" or "channels_last"; that of x by default.

    Returns:
        (N, C, *output_size), dtype of x.

    Raises:
        ShapeError: x and indices have different shapes, or a size is out of range.
        DTypeError: x is not floating-point, or indices is not int64.
        IndexError: an index is negative or not below the number of pixels of y. On a GPU it is raised by the next
            read from the device, and optimizers leave the weights as they were.

    Memory: the gradient reads the indices only.
    Source: Zeiler and Fergus 2014.

    Example:
        >>> max_unpool1d(np.array([[[3.0, 4.0]]]), np.array([[[1, 2]]]), 2)
        array([[[0., 3., 4., 0.]]])
    """

    stem, inputs, saves = "max_unpool", ("x", "indices"), ("indices",)

    def bind(
        self,
        x: Array,
        indices: Array,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        output_size: Sequence[int] | None = None,
        layout: Layout | None = None,
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        sizes = self.windows(kernel_size=kernel_size, stride=stride, padding=padding)
        try:
            size = None if output_size is None else tuple(map(operator.index, output_size))
        except TypeError:
            expected = f"{self.spatial} ints, got {output_size!r}"
            raise self.error(ShapeError, "the output size is out of range.", expected=expected) from None
        return (x, indices), {**sizes, "output_size": size, "layout": layout}

    def infer(self, x: Array, indices: Array, *, layout: Any, **attrs: Any) -> tuple[Out]:
        self.require_floats(x=x)
        if indices.shape != x.shape:
            raise self.error(
                ShapeError, "x and indices have different shapes.", expected="one index a value", x=x, indices=indices
            )
        size = self._check_indices(indices, **attrs)
        return (like(x, (*x.shape[:2], *size), layout),)

    def _check_indices(
        self,
        indices: Array,
        *,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        output_size: tuple[int, ...] | None,
    ) -> tuple[int, ...]:
        """Return the spatial size of y; raise unless it fits and the indices name pixels of it."""
        self.check_images(indices=indices)
        if indices.dtype != np.int64:
            raise self.error(
                DTypeError,
                "indices have a wrong dtype.",
                expected=f"int64, got {indices.dtype}",
                hint=conversion("indices", "int64"),
                indices=indices,
            )
        axes = zip(indices.shape[2:], kernel_size, stride, padding, strict=True)
        usual = tuple((n - 1) * s - 2 * p + k for n, k, s, p in axes)
        size = usual if output_size is None else output_size[len(output_size) == self.spatial + 2 and 2 :]
        if len(size) != self.spatial or any(
            n < 1 or abs(n - m) >= s for n, m, s in zip(size, usual, stride, strict=True)
        ):
            raise self.error(
                ShapeError,
                "the output size is out of range.",
                expected=f"{self.spatial} sizes >= 1, each less than stride={stride} away from {usual}, got {size}",
                indices=indices,
            )
        pixels = math.prod(size)
        if not of(indices).uses_kernels and indices.size and not 0 <= indices.min() <= indices.max() < pixels:
            raise self._out_of_range(pixels, f", got {indices.min()} to {indices.max()}")
        return size

    def _out_of_range(self, pixels: int, found: str = "") -> Any:
        """Return the error of an index outside [0, pixels)."""
        return self.error(IndexError, "an index is out of range.", expected=f"0 <= index < {pixels} pixels{found}")

    def reference(self, be: Backend, y: Array, x: Array, indices: Array, **attrs: Any) -> None:
        pixels, values, where = _flat(be.xp.zeros(y.shape, y.dtype)), _flat(x), _flat(indices)
        images, channels = be.xp.arange(y.shape[0])[:, None], be.xp.arange(y.shape[1])
        for i in range(values.shape[2]):  # one by one, so that the last one stays
            pixels[images, channels, where[:, :, i]] = values[:, :, i]
        y[...] = pixels.reshape(y.shape)

    def cpu(self, be: Backend, y: Array, x: Array, indices: Array, **attrs: Any) -> None:
        values, where = (_rows(be.dense(array, CHANNELS_LAST)) for array in (x, indices))
        with be.dense_output(y, CHANNELS_LAST) as out:
            pixels = _rows(out)
            blas.parallel(len(pixels), lambda n: _place(pixels[n], values[n], where[n]))

    def cuda(self, be: KernelBackend, y: Array, x: Array, indices: Array, **attrs: Any) -> None:
        batch, channels = y.shape[:2]
        with be.dense_output(y, CHANNELS_LAST) as out:
            arrays = out, be.dense(x, CHANNELS_LAST), be.dense(indices, CHANNELS_LAST)
            args = (*arrays, channels, *self._device_sizes(be, indices, y))
            grid = batch * blocks(channels, _LANES)
            be.launch("unpool.cu", "max_unpool_forward", grid, (_LANES, _ROWS), args, REAL=y.dtype)

    def _device_sizes(self, be: KernelBackend, indices: Array, y: Array) -> tuple[Any, ...]:
        """Return what both kernels take last: pixels of x and y, the error word, and the code of a wrong index."""
        inputs, outputs = math.prod(indices.shape[2:]), math.prod(y.shape[2:])
        return inputs, outputs, be.error_word, be.error_code(self._out_of_range(outputs))

    def infer_grad(self, gy: Array, indices: Array, *, layout: Any, **attrs: Any) -> tuple[Out, None]:
        self.require_floats(gy=gy)
        size = self._check_indices(indices, **attrs)
        self.require_saved((*indices.shape[:2], *size), gy.dtype, gy=gy)
        return like(gy, indices.shape, layout), None

    def grad_reference(self, be: Backend, gx: Array, _: None, gy: Array, indices: Array, **attrs: Any) -> None:
        gx[...] = be.xp.take_along_axis(_flat(gy), _flat(indices), axis=2).reshape(gx.shape)

    def grad_cpu(self, be: Backend, gx: Array, _: None, gy: Array, indices: Array, **attrs: Any) -> None:
        gradient, where = (_rows(be.dense(array, CHANNELS_LAST)) for array in (gy, indices))
        channels = np.arange(gy.shape[1])
        with be.dense_output(gx, CHANNELS_LAST) as out:
            rows = _rows(out)
            blas.parallel(len(rows), lambda n: np.copyto(rows[n], gradient[n][where[n], channels]))

    def grad_cuda(self, be: KernelBackend, gx: Array, _: None, gy: Array, indices: Array, **attrs: Any) -> None:
        with be.dense_output(gx, CHANNELS_LAST) as out:
            arrays = out, be.dense(gy, CHANNELS_LAST), be.dense(indices, CHANNELS_LAST)
            pixels, channels = gx.shape[0] * math.prod(gx.shape[2:]), gx.shape[1]
            args = (*arrays, pixels, channels, *self._device_sizes(be, indices, gy))
            launch = grid_and_block(pixels, channels, gx.itemsize)
            be.launch("unpool.cu", "max_unpool_backward", *launch, args, REAL=gx.dtype)


def _flat(array: Array) -> Array:
    """Return (N, C, pixels)."""
    return array.reshape(*array.shape[:2], math.prod(array.shape[2:]))


def _rows(array: Array) -> Array:
    """View channels-last memory as (N, pixels, C)."""
    memory = channels_last_memory(array)
    return memory.reshape(memory.shape[0], math.prod(memory.shape[1:4]), memory.shape[4])


def _place(pixels: Array, values: Array, where: Array) -> None:
    """Place the values of one image; one after the other where their order matters."""
    channels = np.arange(pixels.shape[1])
    pixels.fill(0)
    pixels[where, channels] = values
    bits = np.dtype(f"i{pixels.itemsize}")
    if np.array_equal(pixels[where, channels].view(bits), values.view(bits)):
        return  # each value is found again, so it had no rival, or equal ones
    for value, row in zip(values, where, strict=True):
        pixels[row, channels] = value


max_unpool1d, max_unpool2d, max_unpool3d = (MaxUnpool(axes) for axes in (1, 2, 3))
