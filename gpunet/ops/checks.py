"""Checks that many ops share, and the errors that they raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend.dtypes import FLOAT_NAMES, is_float
from gpunet.errors import DTypeError, ShapeError, describe, layout_message
from gpunet.ops.arguments import conversion, to_one_dtype

__all__ = ["Checks"]


class Checks:
    """What every op inherits: errors that show the inputs, and what raises them."""

    __name__: str
    axes: dict[str, Sequence[str]] = {}

    def error(self, kind: type[Exception], problem: str, *, expected: str = "", hint: str = "", **arrays: Any) -> Any:
        """Return an exception whose message shows the given arrays; the caller raises it."""
        lines = [
            describe(name, self.axes.get(name, ""), array.shape, array.dtype, backend.of(array).device)
            for name, array in arrays.items()
            if array is not None
        ]
        return kind(layout_message(self.__name__, problem, inputs=lines, expected=expected, hint=hint))

    def require_floats(self, **arrays: Any) -> None:
        """Raise DTypeError unless all arrays share one floating-point dtype."""
        dtypes = {array.dtype for array in arrays.values() if array is not None}
        if len(dtypes) == 1 and is_float(*dtypes):
            return
        present = {name: array for name, array in arrays.items() if array is not None}
        name, first = next((name, array.dtype) for name, array in present.items())
        if not is_float(first):
            raise self.error(
                DTypeError,
                f"{name} has a dtype without an implementation.",
                expected=f"{FLOAT_NAMES}, got {first}",
                hint=conversion(name, "float32"),
                **present,
            )
        problem, expected = "the inputs have different dtypes.", "one dtype for all inputs"
        raise self.error(DTypeError, problem, expected=expected, hint=to_one_dtype(present), **present)

    def require_saved(self, shape: tuple[int, ...], dtype: Any, **array: Any) -> None:
        """Raise unless what a gradient was given (gy, or a saved value) has the shape and dtype of the forward's."""
        ((name, given),) = array.items()
        if given.shape == shape and given.dtype == dtype:
            return
        problem = f"{name} does not fit the forward call."
        if given.shape != shape:
            raise self.error(ShapeError, problem, expected=f"shape {shape}, got {given.shape}", **array)
        raise self.error(DTypeError, problem, expected=f"{np.dtype(dtype)}, got {given.dtype}", **array)
