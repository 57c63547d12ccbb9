"""Shape ops: reshape and flatten; views where memory allows, copies in (N, C, *spatial) order elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op
from gpunet.ops.sums import axis_of

__all__ = ["flatten", "reshape"]


class Reshape(Op):
    """The same elements in another shape, read in (N, C, *spatial) order.

    Args:
        x: any shape and dtype.
        shape: the new shape; one entry may be -1 and is worked out.

    Returns:
        `shape`, contiguous. A view of x if x is contiguous, else a copy.

    Raises:
        ShapeError: the sizes do not have the same product.

    Memory: the gradient is a view of gy where that is contiguous; it needs the shape of x only, given as `input_size`.

    Example:
        >>> reshape(np.arange(6.0), (2, -1)).shape
        (2, 3)
    """

    name, gradients, aliases, views = "reshape", ("x",), True, True

    def bind(
        self, x: Array, shape: Sequence[int], *, input_size: Sequence[int] | None = None
    ) -> tuple[tuple[Array], dict[str, Any]]:
        size = arguments.input_size(self.name, x, input_size)
        return (x,), {"shape": arguments.integers(self.name, "shape", shape), "input_size": size}

    def run(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> tuple[Array]:
        """Copy to contiguous memory where needed, then view."""
        (x,), shape = arrays, attrs["shape"]
        known = math.prod(size for size in shape if size != -1)
        missing = x.size // known if shape.count(-1) == 1 and known else -1
        full = tuple(missing if size == -1 else size for size in shape)
        if math.prod(full) != x.size or min(full, default=0) < 0:
            raise self.error(ShapeError, "the sizes do not fit.", expected=f"{x.size} elements, got shape {shape}", x=x)
        return (backend.of(x).dense(x, CONTIGUOUS).reshape(full),)

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Any, into: Any = None
    ) -> tuple[Array | None]:
        """Reshape gy back."""
        return (backend.of(gy).dense(gy, CONTIGUOUS).reshape(attrs["input_size"]) if needs[0] else None,)


reshape = Reshape()


def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """Merge the axes from start_dim to end_dim, both included, into one.

    Args:
        x: any shape and dtype.
        start_dim, end_dim: axes; negative ones count from the end.

    Returns:
        As `reshape`; an array without axes becomes one of one element.

    Raises:
        IndexError: an axis does not exist.
        ShapeError: end_dim lies before start_dim.

    Example:
        >>> flatten(np.zeros((2, 3, 4)), 1).shape
        (2, 12)
    """
    return reshape(x, flat_shape(arguments.shape_of(x), start_dim, end_dim))


def flat_shape(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    """Return the shape that flatten gives."""
    first, last = arguments.integer("flatten", "start_dim", start_dim), arguments.integer("flatten", "end_dim", end_dim)
    start, end = axis_of(first, len(shape), "flatten"), axis_of(last, len(shape), "flatten")
    if start > end:
        raise ShapeError(f"flatten: axis {end_dim} lies before axis {start_dim} in shape {shape}.")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])
