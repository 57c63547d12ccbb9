"""Cases of conversion. One with a gradient, in the dtype of the finite differences; the others only forward."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from gpunet.backend.dtypes import floats, is_half
from tests.harness.case import Case, Special


def _cast(torch, x, dtype):
    return x.to(getattr(torch, np.dtype(dtype).name))


CASES = [
    Case(ops.cast, {"x": (2, 3, 5)}, {"cast": 1}, {"x": {}}, {"dtype": np.float64}, torch=_cast, id="gradient"),
    *(
        Case(ops.cast, {"x": (300,)}, {"cast": 1}, attrs={"dtype": dtype}, torch=None, id=dtype.name)
        for dtype in floats()
    ),
]


def every_rounding_to_16_bits_is_to_nearest_even(be):
    """Floats just below, at and above the middle between two neighbours, for all signs and exponents, and NaNs."""
    lower = {"float16": (0, 0xFFF, 0x1000, 0x1001, 0x1FFF), "bfloat16": (0, 0x7FFF, 0x8000, 0x8001, 0xFFFF)}
    for dtype in filter(is_half, floats()):
        shift = 13 if dtype == np.float16 else 16
        upper = np.arange(0, 1 << 32 - shift, 37 if dtype == np.float16 else 5, dtype=np.uint32) << shift
        bits = np.concatenate([*(upper | low for low in lower[dtype.name]), [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001]])
        values = bits.astype(np.uint32).view(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            expected = values.astype(dtype)
        found = be.to_numpy(ops.cast(be.from_numpy(values), dtype))
        numbers = ~np.isnan(values)
        assert np.array_equal(found[numbers].view(np.uint16), expected[numbers].view(np.uint16)), dtype
        assert np.isnan(found[~numbers].astype(np.float32)).all(), dtype


SPECIALS = [Special(("cast",), every_rounding_to_16_bits_is_to_nearest_even)]
