"""Views: parts of an array, and its axes in another order, in the memory of the array itself."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from types import EllipsisType
from typing import Any

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, layout_of
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op
from gpunet.ops.sums import axis_of

__all__ = ["Index", "getitem", "permute"]

Index = int | slice | EllipsisType | None
Step = int | slice | None


class View(Op):
    """Base of the ops whose output always is a view of the input."""

    gradients, views = ("x",), True

    def shares(self, x: Array) -> bool:
        """Say whether the output is a view of the input."""
        return True


class Getitem(View):
    """Part of an array, as a view: x[index].

    Args:
        x: any shape and dtype.
        index: an int, a slice with a step >= 1, None for a new axis, ... for all axes that are not named, or a tuple of
            these. Negative ints count from the end, and slices end where the array does, as in Python.

    Returns:
        The shape that NumPy gives, in the memory of x. One element is an array of shape ().

    Raises:
        IndexError: an int is out of range, there are too many entries, or an entry is of another kind.
        ValueError: a step is not >= 1.

    Memory: the gradient has the size of x, given as `input_size`, with zeros outside the part.

    Example:
        >>> getitem(np.arange(6).reshape(2, 3), (-1, slice(1, None)))
        array([4, 5])
    """

    name = "getitem"

    def bind(
        self, x: Array, index: Index | tuple[Index, ...], *, input_size: Sequence[int] | None = None, layout: Any = None
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.name, x, input_size)
        return (x,), {"index": normal_index(index, size), "input_size": size, "layout": layout}

    def run(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> tuple[Array]:
        """Take the part; remember the layout of the whole, for the gradient."""
        (x,) = arrays
        attrs["layout"] = layout_of(x) or CONTIGUOUS
        return (x[attrs["index"]],)

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Sequence[bool], into: Sequence[Any] | None = None
    ) -> tuple[Array | None]:
        """Write gy to its place among zeros."""
        if not needs[0]:
            return (None,)
        be, given = backend.of(gy), into[0] if into else None
        gx = be.empty(attrs["input_size"], gy.dtype, attrs["layout"] or CONTIGUOUS) if given is None else given
        be.fill(gx, 0)
        part = gx[attrs["index"]]
        self.require_saved(part.shape, gy.dtype, gy=gy)
        be.copy(part, gy)
        return (gx,)


def normal_index(index: Any, size: tuple[int, ...]) -> tuple[Step | EllipsisType, ...]:
    """Return an index with one entry per axis or new axis, checked, that ends in ... so that it always makes a view."""
    entries = list(index) if isinstance(index, tuple) else [index]
    named = len([entry for entry in entries if entry is not None and entry is not Ellipsis])
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1 or named > len(size):
        problem = "more than one ..." if len(dots) > 1 else f"too many indices: {named} for {len(size)} axes"
        raise IndexError(f"getitem: {problem}.\n  x has the shape {size}")
    rest = [slice(None)] * (len(size) - named)
    at = dots[0] if dots else len(entries)
    entries[at : at + len(dots)] = rest
    axis, result = 0, []
    for entry in entries:
        result.append(None if entry is None else _normal_entry(entry, axis, size))
        axis += entry is not None
    return (*result, ...)


def _normal_entry(entry: Any, axis: int, size: tuple[int, ...]) -> int | slice:
    if isinstance(entry, slice):
        if entry.step is not None and operator.index(entry.step) < 1:
            raise ValueError(f"getitem: the step of a slice must be >= 1, got {entry.step} for axis {axis}")
        return slice(*entry.indices(size[axis]))
    if isinstance(entry, bool) or not hasattr(entry, "__index__") or getattr(entry, "shape", ()) != ():
        raise IndexError(
            f"getitem: a {type(entry).__name__} is not an index here.\n"
            "  expected an int, a slice, None or ..., or a tuple of these\n"
            "  hint: index the bare array, tensor.array, with masks and lists"
        )
    place = operator.index(entry)
    if not -size[axis] <= place < size[axis]:
        raise IndexError(f"getitem: index {place} is out of bounds for axis {axis} with size {size[axis]}")
    return place


class Permute(View):
    """The axes in another order, as a view.

    Args:
        x: any shape and dtype.
        dims: for each axis of the result, the axis of x that it is; negative ones count from the end.

    Returns:
        Shape (x.shape[dims[0]], x.shape[dims[1]], ...), in the memory of x.

    Raises:
        IndexError: an axis does not exist.
        ShapeError: dims does not name every axis once.

    Memory: the gradient is a view of gy; it needs the shape of x only, given as `input_size`.

    Example:
        >>> permute(np.zeros((2, 3, 4)), (2, 0, 1)).shape
        (4, 2, 3)
    """

    name, aliases = "permute", True

    def bind(
        self, x: Array, dims: Sequence[int], *, input_size: Sequence[int] | None = None
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.name, x, input_size)
        order = tuple(axis_of(dim, len(size), self.__name__) for dim in arguments.integers(self.name, "dims", dims))
        if sorted(order) != list(range(len(size))):
            raise ShapeError(f"permute: every axis must be named once.\n  expected {len(size)} axes, got {tuple(dims)}")
        return (x,), {"dims": order, "input_size": size}

    def run(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> tuple[Array]:
        """View the axes in the new order."""
        return (arrays[0].transpose(attrs["dims"]),)

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Sequence[bool], into: Any = None
    ) -> tuple[Array | None]:
        """View the axes of gy in the old order."""
        dims = attrs["dims"]
        self.require_saved(tuple(attrs["input_size"][dim] for dim in dims), gy.dtype, gy=gy)
        return (gy.transpose(tuple(dims.index(axis) for axis in range(len(dims)))) if needs[0] else None,)


getitem = Getitem()
permute = Permute()
