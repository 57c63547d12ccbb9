"""Cases of shape ops."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case

CASES = [
    Case(
        ops.reshape,
        {"x": (2, 3, 4)},
        {},
        {"x": {}},
        attrs={"shape": (4, -1)},
        torch=lambda torch, x, shape: x.reshape(shape),
    ),
]
