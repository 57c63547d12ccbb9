"""Elementwise ops over several inputs, and how the CPU shares elementwise work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, blas, layout_of
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.backend.layout import coalesce, memory_view
from gpunet.errors import ShapeError
from gpunet.ops.base import Op, Out
from gpunet.ops.reduce import sum_to_size

__all__ = ["add", "flat", "in_chunks"]

_CHUNK = 1 << 16  # elements


class Add(Op):
    """Sum of two arrays, with broadcasting.

        z = x + y

    Args:
        x: any shape, any float dtype.
        y: a shape that broadcasts with that of x, dtype of x.

    Returns:
        The broadcast shape; dtype of x; layout of the first input that has this shape.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient needs neither input; it is gy itself, or its sum over broadcast axes.

    Example:
        >>> add(np.ones((2, 3)), np.arange(3.0))
        array([[1., 2., 3.],
               [1., 2., 3.]])
    """

    name, inputs, outputs, gradients, aliases = "add", ("x", "y"), ("z",), ("x", "y"), True

    def bind(
        self, x: Array, y: Array, *, sizes: tuple[tuple[int, ...], ...] | None = None
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        return (x, y), {"sizes": sizes or (x.shape, y.shape)}

    def infer(self, x: Array, y: Array, sizes: Any) -> tuple[Out]:
        self.require_floats(x=x, y=y)
        try:
            shape = np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise self.error(
                ShapeError,
                "the shapes do not broadcast.",
                expected="axes, counted from the last, that are equal or 1",
                x=x,
                y=y,
            ) from None
        first = x if x.shape == shape else y
        layout = layout_of(first) if first.shape == shape else None
        return (Out(shape, x.dtype, layout or CONTIGUOUS),)

    def reference(self, be: Backend, z: Array, x: Array, y: Array, sizes: Any) -> None:
        be.xp.add(x, y, out=z)

    def cuda(self, be: KernelBackend, z: Array, x: Array, y: Array, sizes: Any) -> None:
        layout = layout_of(z) or CONTIGUOUS
        x, y = (be.dense(a, layout_of(a) or CONTIGUOUS) for a in (x, y))
        strides = (
            [step // a.itemsize for step in memory_view(be.xp.broadcast_to(a, z.shape), layout).strides] for a in (x, y)
        )
        sizes, x_strides, y_strides = coalesce(memory_view(z, layout).shape, *strides)
        args = (z, x, y, be.axes(sizes, x_strides), be.axes(sizes, y_strides), z.size)
        be.launch("elementwise.cu", "add_forward", blocks(z.size), 256, args, REAL=z.dtype)

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Any, into: Any = None
    ) -> tuple[Array | None, ...]:
        """Pass gy on: a view where nothing was broadcast, else a sum."""
        pairs = zip(needs, attrs["sizes"], strict=True)
        return tuple((gy if gy.shape == size else sum_to_size(gy, size)) if needed else None for needed, size in pairs)

    def infer_grad(self, gy: Array, sizes: Any) -> tuple[Out, Out]:
        x_size, y_size = sizes
        return Out(x_size, gy.dtype), Out(y_size, gy.dtype)


def flat(be: Backend, *arrays: Array) -> list[Array]:
    """View arrays as one axis in memory order of the first, which is dense; the others are copied if need be."""
    layout = layout_of(arrays[0]) or CONTIGUOUS
    return [memory_view(be.dense(array, layout), layout).reshape(-1) for array in arrays]


def in_chunks(work: Callable[..., object], *arrays: Array) -> None:
    """Call work on pieces of flat arrays that fit the cache, shared by our threads."""
    pieces = [slice(start, start + _CHUNK) for start in range(0, arrays[0].size, _CHUNK)]
    blas.parallel(len(pieces), lambda i: work(*(array[pieces[i]] for array in arrays)))


add = Add()
