"""Cases of reductions."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case

CASES = [
    Case(
        ops.sum_to_size,
        {"x": (2, 3, 4, 5)},
        {"sum_axes": 1},
        attrs={"size": (3, 1, 5)},
        torch=lambda torch, x, size: x.sum_to_size(size),
    ),
    Case(
        ops.sum_to_size,
        {"x": (2100, 3)},
        {"sum_axes": 2},
        attrs={"size": (1, 3)},
        torch=lambda torch, x, size: x.sum_to_size(size),
        id="two-passes",
    ),
]
