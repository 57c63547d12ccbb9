"""Conversion between floating-point types."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import CONTIGUOUS, Array, Backend, layout_of
from gpunet.backend.dtypes import FLOAT_NAMES, is_float
from gpunet.backend.kernel_backend import KernelBackend, vector_blocks
from gpunet.errors import DTypeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out

__all__ = ["cast"]


class Cast(Op):
    """The same numbers in another floating-point type, rounded to nearest even.

    float64 goes to the 16-bit types by way of float32. What float16 cannot hold becomes infinite. The gradient is cast
    back.

    Args:
        x: any shape, any float dtype.
        dtype: float16, bfloat16, float32 or float64.

    Returns:
        Shape and layout of x, in `dtype`; always a copy.

    Raises:
        DTypeError: x or `dtype` is not floating-point.

    Memory: the gradient is gy itself, or its cast; it needs the dtype of x only, given as `input_dtype`.

    Example:
        >>> cast(np.array([1.0, 0.1]), np.float16)
        array([1. , 0.1], dtype=float16)
    """

    name, gradients, aliases = "cast", ("x",), True

    def bind(
        self, x: Array, dtype: npt.DTypeLike, *, input_dtype: npt.DTypeLike | None = None
    ) -> tuple[tuple[Array], dict[str, Any]]:
        if x is None and input_dtype is None:
            raise arguments.missing(self.name, "input_dtype", "the dtype of x")
        given = getattr(x, "dtype", None) if input_dtype is None else input_dtype  # what is no array is found later
        return (x,), {"dtype": np.dtype(dtype), "input_dtype": np.dtype(given)}

    def infer(self, x: Array, dtype: np.dtype[Any], input_dtype: Any) -> tuple[Out]:
        self.require_floats(x=x)
        if not is_float(dtype):
            raise self.error(DTypeError, "cannot convert to this dtype.", expected=f"{FLOAT_NAMES}, got {dtype}", x=x)
        return (Out(x.shape, dtype, layout_of(x) or CONTIGUOUS),)

    def reference(self, be: Backend, y: Array, x: Array, **dtypes: Any) -> None:
        with np.errstate(over="ignore"):
            y[...] = x.astype(y.dtype)

    def cuda(self, be: KernelBackend, y: Array, x: Array, **dtypes: Any) -> None:
        args = (y, be.dense(x, layout_of(y) or CONTIGUOUS), y.size)
        be.launch("cast.cu", "cast", vector_blocks(y, x), 256, args, REAL=x.dtype, TO=y.dtype)

    def run_grad(
        self, gy: Array, saved: Any, attrs: dict[str, Any], needs: Any, into: Any = None
    ) -> tuple[Array | None]:
        """Cast gy back."""
        if not needs[0]:
            return (None,)
        return (gy if gy.dtype == attrs["input_dtype"] else cast(gy, attrs["input_dtype"]),)


cast = Cast()
