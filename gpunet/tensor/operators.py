"""The operations of a Tensor; each is the method of the function with its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.ops.arithmetic import Number
from gpunet.ops.base import Op
from gpunet.ops.shape import flat_shape
from gpunet.ops.sums import axis_of
from gpunet.ops.view import Index
from gpunet.tensor.facts import Facts
from gpunet.tensor.precision import matmul_allows_tf32

if TYPE_CHECKING:
    from gpunet.tensor.tensor import Tensor

__all__ = ["Operators"]

Dims = int | Sequence[int] | None


def _missing(what: str, hint: str) -> Callable[..., Any]:
    """Return a method for an operator that is not there, which says so."""

    def method(self: Any, *others: Any) -> Any:
        raise TypeError(f"Tensor {what} not in gpunet\n  hint: {hint}")

    return method


class Operators(Facts):
    """What Tensor inherits: arithmetic, matrix products, sums, activations, shapes and parts."""

    __slots__ = ()

    # What Tensor defines.

    @staticmethod
    def _apply(op: Op, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError

    def _in_place(self, name: str, op: Op, other: Tensor | Number) -> Tensor:
        raise NotImplementedError

    # Arithmetic with a tensor that broadcasts, or with a number.

    __array_priority__ = 1000  # numpy.float64(2) * tensor is ours

    def _binary(self, op: Op, x: Any, y: Any) -> Any:
        known = all(isinstance(value, _OPERANDS) or hasattr(value, "dtype") for value in (x, y))
        return self._apply(op, x, y) if known else NotImplemented  # bare arrays are refused by name

    def __add__(self, other: Tensor | Number) -> Tensor:
        return self._binary(ops.add, self, other)

    def __radd__(self, other: Number) -> Tensor:
        return self._binary(ops.add, other, self)

    def __sub__(self, other: Tensor | Number) -> Tensor:
        return self._binary(ops.sub, self, other)

    def __rsub__(self, other: Number) -> Tensor:
        return self._binary(ops.sub, other, self)

    def __mul__(self, other: Tensor | Number) -> Tensor:
        return self._binary(ops.mul, self, other)

    def __rmul__(self, other: Number) -> Tensor:
        return self._binary(ops.mul, other, self)

    def __truediv__(self, other: Tensor | Number) -> Tensor:
        return self._binary(ops.div, self, other)

    def __rtruediv__(self, other: Number) -> Tensor:
        return self._binary(ops.div, other, self)

    def __neg__(self) -> Tensor:
        return self._apply(ops.neg, self)

    def add(self, other: Tensor | Number) -> Tensor:
        """See `gpunet.add`."""
        return self._apply(ops.add, self, other)

    def sub(self, other: Tensor | Number) -> Tensor:
        """See `gpunet.sub`."""
        return self._apply(ops.sub, self, other)

    def mul(self, other: Tensor | Number) -> Tensor:
        """See `gpunet.mul`."""
        return self._apply(ops.mul, self, other)

    def div(self, other: Tensor | Number) -> Tensor:
        """See `gpunet.div`."""
        return self._apply(ops.div, self, other)

    def neg(self) -> Tensor:
        """See `gpunet.neg`."""
        return self._apply(ops.neg, self)

    # The same in place; part of the tape where gradients are needed.

    def add_(self, other: Tensor | Number) -> Tensor:
        """Add in place."""
        return self._in_place("add_", ops.add, other)

    def sub_(self, other: Tensor | Number) -> Tensor:
        """Subtract in place."""
        return self._in_place("sub_", ops.sub, other)

    def mul_(self, other: Tensor | Number) -> Tensor:
        """Multiply in place."""
        return self._in_place("mul_", ops.mul, other)

    def div_(self, other: Tensor | Number) -> Tensor:
        """Divide in place."""
        return self._in_place("div_", ops.div, other)

    def __iadd__(self, other: Tensor | Number) -> Tensor:
        return self.add_(other)

    def __isub__(self, other: Tensor | Number) -> Tensor:
        return self.sub_(other)

    def __imul__(self, other: Tensor | Number) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self, other: Tensor | Number) -> Tensor:
        return self.div_(other)

    # Matrix products.

    def __matmul__(self, other: Tensor) -> Tensor:
        return self._product(self, other)

    def __rmatmul__(self, other: Tensor) -> Tensor:
        return self._product(other, self)

    def _product(self, a: Any, b: Any) -> Any:
        known = all(isinstance(value, Operators) or hasattr(value, "dtype") for value in (a, b))
        return self._apply(ops.matmul, a, b, allow_tf32=matmul_allows_tf32()) if known else NotImplemented

    def matmul(self, other: Tensor) -> Tensor:
        """See `gpunet.matmul`."""
        return self._apply(ops.matmul, self, other, allow_tf32=matmul_allows_tf32())

    def mm(self, mat2: Tensor) -> Tensor:
        """See `gpunet.mm`."""
        return self._stack_product("mm", 2, mat2)

    def bmm(self, mat2: Tensor) -> Tensor:
        """See `gpunet.bmm`."""
        return self._stack_product("bmm", 3, mat2)

    def _stack_product(self, name: str, axes: int, other: Tensor) -> Tensor:
        shapes = self.shape, getattr(other, "shape", ())
        if isinstance(other, Operators) and (
            {len(shape) for shape in shapes} != {axes} or shapes[0][:-2] != shapes[1][:-2]
        ):
            expected = "two matrices" if axes == 2 else "two batches of matrices, equally long"
            raise ShapeError(f"{name}: expected {expected}, got {shapes[0]} and {shapes[1]}\n  hint: gpunet.matmul")
        return self.matmul(other)

    # What is not there. Python's == would compare identities without a word.

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _OPERANDS) or hasattr(other, "dtype"):
            raise TypeError("Tensor == and != are not in gpunet\n  hint: compare the bare arrays, x.array == y.array")
        return NotImplemented

    __lt__ = __le__ = __gt__ = __ge__ = _missing("< and > are", "compare the bare arrays, x.array > y.array")
    __pow__ = __rpow__ = _missing("** is", "the square is x * x")
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _missing("// and % are", "with bare arrays, x.array // y.array")
    __abs__ = _missing("abs is", "nn.functional.l1_loss(x, y, reduction='none') is abs(x - y)")
    __setitem__ = _missing("x[...] = y is", "x[...].copy_(y)")

    __hash__ = object.__hash__

    # Sums.

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """See `gpunet.sum`."""
        return self._apply(ops.sum, self, dim, keepdim)

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """See `gpunet.mean`."""
        return self._apply(ops.mean, self, dim, keepdim)

    # Activations.

    def relu(self) -> Tensor:
        """See `gpunet.relu`."""
        return self._apply(ops.relu, self)

    def sigmoid(self) -> Tensor:
        """See `gpunet.sigmoid`."""
        return self._apply(ops.sigmoid, self)

    def tanh(self) -> Tensor:
        """See `gpunet.tanh`."""
        return self._apply(ops.tanh, self)

    def softmax(self, dim: int) -> Tensor:
        """See `gpunet.softmax`."""
        return self._apply(ops.softmax, self, dim)

    def log_softmax(self, dim: int) -> Tensor:
        """See `gpunet.log_softmax`."""
        return self._apply(ops.log_softmax, self, dim)

    # Other shapes: views where memory allows, copies elsewhere.

    def reshape(self, *shape: Any) -> Tensor:
        """See `gpunet.reshape`; sizes may be given one by one."""
        return self._apply(ops.reshape, self, _listed(shape))

    def view(self, *shape: Any) -> Tensor:
        """Same as `reshape`: copies where memory does not allow a view, where PyTorch raises."""
        return self.reshape(*shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """See `gpunet.flatten`."""
        return self._apply(ops.reshape, self, flat_shape(self.shape, start_dim, end_dim))

    def unsqueeze(self, dim: int) -> Tensor:
        """See `gpunet.unsqueeze`."""
        at = axis_of(dim, len(self.shape) + 1, "unsqueeze")
        return self.reshape((*self.shape[:at], 1, *self.shape[at:]))

    def squeeze(self, dim: Dims = None) -> Tensor:
        """See `gpunet.squeeze`."""
        given = range(len(self.shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
        axes = {axis_of(axis, len(self.shape), "squeeze") for axis in given}
        return self.reshape(tuple(n for axis, n in enumerate(self.shape) if n != 1 or axis not in axes))

    # Parts, and the axes in another order: always views.

    def __getitem__(self, index: Index | tuple[Index, ...]) -> Tensor:
        """Return a part as a view, with ints, slices, None and ...; see `gpunet.ops.getitem`."""
        return self._apply(ops.getitem, self, index)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a tensor without axes")
        return (self[i] for i in range(self.shape[0]))

    def permute(self, *dims: Any) -> Tensor:
        """See `gpunet.permute`; axes may be given one by one."""
        return self._apply(ops.permute, self, _listed(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """See `gpunet.transpose`."""
        dims = list(range(len(self.shape)))
        first, second = (axis_of(dim, len(dims), "transpose") for dim in (dim0, dim1))
        if dims:
            dims[first], dims[second] = second, first
        return self.permute(dims)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix, as a view."""
        if len(self.shape) > 2:
            raise ShapeError(f"T: expected a matrix, got shape {self.shape}\n  hint: transpose(-2, -1), or permute")
        return self.transpose(0, -1)


_OPERANDS = (Operators, int, float, np.integer, np.floating)


def _listed(values: tuple[Any, ...]) -> tuple[int, ...]:
    """Return sizes or axes that were given one by one, or as one sequence."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], Sequence) else values
