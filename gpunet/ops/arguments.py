"""What several ops ask of their arguments: integers, memory to write to, and what a gradient is told of its forward."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.errors import layout_message

__all__ = [
    "activation",
    "conversion",
    "input_size",
    "integer",
    "integers",
    "is_read_only",
    "missing",
    "refuse_activation",
    "require_writable",
    "shape_of",
    "to_one_dtype",
]


def integer(op: str, name: str, value: Any) -> int:
    """Return an argument as an int; what is none is refused, not cut.

    >>> integer("cat", "dim", np.int64(1))
    1
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be an int, got {value!r}") from None


def integers(op: str, name: str, values: Any) -> tuple[int, ...]:
    """Return an argument as a tuple of ints."""
    try:
        return tuple(map(operator.index, values))
    except TypeError:
        raise TypeError(f"{op}: {name} must be a tuple of ints, got {values!r}") from None


def activation(op: str, name: str | None) -> str | None:
    """Return the name of an activation that is computed together with an op: "relu", or None.

    >>> activation("linear", "relu")
    'relu'
    """
    if name not in (None, "relu"):
        expected, hint = f'"relu" or None, got {name!r}', "leave it out, and call the activation on the result"
        problem = "this activation cannot be computed in the same pass."
        raise ValueError(layout_message(op, problem, expected=expected, hint=hint))
    return name


def refuse_activation(op: str, name: str | None) -> None:
    """Raise for a gradient that is asked to go through an activation."""
    if name is not None:
        problem, expected = "gradients do not go through the activation.", f"no activation, got {name!r}"
        hint = f"gy = {name}.grad(gy, y) first; {op}.grad(gy, ...) without activation then"
        raise ValueError(layout_message(f"{op}.grad", problem, expected=expected, hint=hint))


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array or tensor, or raise what says that x is none."""
    if not hasattr(x, "shape"):
        backend.of(x)
    return tuple(x.shape)


def input_size(op: str, x: Any, given: Sequence[int] | None) -> tuple[int, ...]:
    """Return the shape of x, which a gradient is told by the keyword argument `input_size`."""
    if x is None and given is None:
        raise missing(op, "input_size", "the shape of x")
    return shape_of(x) if given is None else tuple(given)


def conversion(name: str, dtype: Any) -> str:
    """Return the hint that converts an array, or a Tensor.

    >>> conversion("x", np.float32)
    'x.astype("float32"), of a Tensor x.to(dtype="float32")'
    """
    kind = np.dtype(dtype).name
    return f'{name}.astype("{kind}"), of a Tensor {name}.to(dtype="{kind}")'


def to_one_dtype(arrays: Mapping[str, Any]) -> str:
    """Return the hint that converts the arrays of the rarer dtypes, such as float64 data beside float32 weights."""
    kinds = [array.dtype for array in arrays.values()]
    usual = max(kinds, key=kinds.count)
    return conversion(next(name for name, array in arrays.items() if array.dtype != usual), usual)


def missing(op: str, keyword: str, meaning: str) -> TypeError:
    """Return the error of a gradient that is not told what it needs to know of the forward call."""
    return TypeError(f"{op}.grad: missing keyword argument '{keyword}', {meaning}")


def is_read_only(array: Any) -> bool:
    """Say whether an array cannot be written to; only NumPy has such arrays."""
    return not getattr(array.flags, "writeable", True)


def require_writable(op: str, **arrays: Any) -> None:
    """Raise ValueError if an array that a call changes in place is read-only."""
    for name, array in arrays.items():
        if array is not None and is_read_only(array):
            problem, hint = f"{name} is read-only.", f"{name} = {name}.copy()"
            raise ValueError(layout_message(op, problem, expected="memory that can be changed in place", hint=hint))
