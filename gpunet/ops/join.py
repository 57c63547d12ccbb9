"""Joining arrays: cat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out
from gpunet.ops.sums import axis_of

__all__ = ["cat"]

Sizes = Sequence[tuple[int, ...]]


class Cat(Op):
    """Arrays one after the other, along an axis that they have.

    Args:
        x: arrays of one dtype, any; their shapes differ along `dim` only. An array of shape (0,) fits everywhere and
            counts nothing, as in PyTorch.
        dim: the axis; a negative one counts from the end.

    Returns:
        The shape with the sizes along `dim` added up, in the layout of the first array.

    Raises:
        ShapeError: an array has no axes, or the shapes differ elsewhere.
        DTypeError: there is no array, or the dtypes differ.
        IndexError: there is no such axis.

    Memory: the gradients are views of gy; they need the shapes of all inputs only, given as `sizes`.

    Example:
        >>> cat(np.array([[1, 2]]), np.array([[3]]), dim=1)
        array([[1, 2, 3]])
    """

    name, gradients, variadic, aliases = "cat", ("x",), True, True

    def bind(self, *x: Array, dim: int = 0, sizes: Sizes | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if sizes is None:
            if len(x) == 1 and x[0] is None:
                raise arguments.missing(self.name, "sizes", "the shapes of all inputs")
            if not x:
                raise DTypeError("cat: there is no array\n  expected one or more")
            sizes = [getattr(array, "shape", ()) for array in x]  # what is no array is found later
        elif len(x) != len(sizes):
            x = (None,) * len(sizes)
        return x, {"dim": arguments.integer(self.name, "dim", dim), "sizes": tuple(map(tuple, sizes))}

    def infer(self, *x: Array, dim: int, sizes: Sizes) -> tuple[Out]:
        named = dict(zip(self.names(len(x)), x, strict=True))
        first = next((array for array in x if array.shape != (0,)), x[0])
        if any(array.dtype != first.dtype for array in x):
            problem, hint = "the inputs have different dtypes.", arguments.to_one_dtype(named)
            raise self.error(DTypeError, problem, expected="one dtype", hint=hint, **named)
        return (Out(self.joined(dim, sizes, **named), first.dtype, layout_of(first) or CONTIGUOUS),)

    def joined(self, dim: int, sizes: Sizes, **named: Array) -> tuple[int, ...]:
        """Return the shape of the whole, or raise if the shapes do not fit."""
        if () in sizes:
            raise self.error(ShapeError, "an array has no axes.", expected="at least one", hint="x[None]", **named)
        first, *others = [size for size in sizes if size != (0,)] or [(0,)]
        axis = axis_of(dim, len(first), self.__name__)
        around = first[:axis], first[axis + 1 :]
        if any(len(size) != len(first) or (size[:axis], size[axis + 1 :]) != around for size in others):
            expected = f"shapes that differ along axis {axis} only"
            raise self.error(ShapeError, "the shapes do not fit.", expected=expected, **named)
        return (*around[0], sum(size[axis] for size in (first, *others)), *around[1])

    def reference(self, be: Backend, y: Array, *x: Array, dim: int, sizes: Sizes) -> None:
        y[...] = be.xp.concatenate([array for array in x if array.shape != (0,)] or x, axis=dim)

    def cuda(self, be: KernelBackend, y: Array, *x: Array, dim: int, sizes: Sizes) -> None:
        for array, part in zip(x, _parts(y, dim, sizes), strict=True):
            if array.size:
                be.copy(part, array)

    cpu = cuda

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Sequence[bool], into: Any = None
    ) -> tuple[Array | None, ...]:
        """View the part of gy that is each array's."""
        self.require_saved(self.joined(**attrs), gy.dtype, gy=gy)
        parts = zip(_parts(gy, **attrs), needs, strict=True)
        return tuple(part if needed else None for part, needed in parts)


def _parts(y: Array, dim: int, sizes: Sizes) -> Iterator[Array]:
    """Yield the part of y that is each array's; for an array of shape (0,) nothing, in that shape."""
    axis, start = axis_of(dim, y.ndim, "cat"), 0
    for size in sizes:
        stop = start + (size[axis] if size != (0,) else 0)
        part = y[(*[slice(None)] * axis, slice(start, stop))]
        yield part if size != (0,) else part.reshape(size)
        start = stop


cat = Cat()
