"""Floating-point element types: how values are stored, and the type in which they are computed and summed.

float16 and bfloat16 are storage: an op reads them, computes in float32 and rounds each result once. bfloat16 comes
from the package ml_dtypes, which is imported only where somebody asks for that type.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = ["FLOAT_NAMES", "accumulator", "bfloat16", "floats", "is_float", "is_half"]

_ACCUMULATORS = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}
FLOAT_NAMES = "float16, bfloat16, float32 or float64"  # for messages


@functools.cache
def is_float(dtype: np.dtype[Any]) -> bool:
    """Say whether ops compute with a dtype.

    >>> is_float(np.dtype("float16")), is_float(np.dtype("int64"))
    (True, False)
    """
    return dtype.name in _ACCUMULATORS


@functools.cache
def is_half(dtype: np.dtype[Any]) -> bool:
    """Say whether a dtype is one of 16 bits that stores what is computed in float32."""
    return dtype.name in ("float16", "bfloat16")


@functools.cache
def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that values of `dtype` are computed and summed in; kernels call it ACC.

    >>> accumulator(np.dtype("float16")), accumulator(np.dtype("float64"))
    (dtype('float32'), dtype('float64'))
    """
    return np.dtype(_ACCUMULATORS[dtype.name])


def bfloat16() -> np.dtype[Any]:
    """Return the dtype bfloat16.

    Raises:
        ImportError: the package ml_dtypes is missing.
    """
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("bfloat16 arrays need ml_dtypes\n  hint: pip install ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16)


def floats() -> tuple[np.dtype[Any], ...]:
    """Return all dtypes that ops compute with here; bfloat16 is among them where ml_dtypes is installed."""
    of_numpy = np.dtype("float16"), np.dtype("float32"), np.dtype("float64")
    try:
        return (*of_numpy, bfloat16())
    except ImportError:
        return of_numpy
