"""Cases of conversion. One with a gradient, in the dtype of the finite differences; the others only forward."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from gpunet.backend.dtypes import floats
from tests.harness.case import Case


def _cast(torch, x, dtype):
    return x.to(getattr(torch, np.dtype(dtype).name))


CASES = [
    Case(ops.cast, {"x": (2, 3, 5)}, {"cast": 1}, {"x": {}}, {"dtype": np.float64}, torch=_cast, id="gradient"),
    *(
        Case(ops.cast, {"x": (300,)}, {"cast": 1}, attrs={"dtype": dtype}, torch=None, id=dtype.name)
        for dtype in floats()
    ),
]
