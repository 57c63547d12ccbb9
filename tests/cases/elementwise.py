"""Cases of elementwise ops."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case

CASES = [
    Case(
        ops.add,
        {"x": (2, 3, 4, 5), "y": (3, 1, 1)},
        {"add_forward": 1},
        {"x": {}, "y": {"sum_axes": 1}},
        torch=lambda torch, x, y: x + y,
    ),
    Case(
        ops.add,
        {"x": (1, 7), "y": (4, 1, 1)},
        {"add_forward": 1},
        {"x": {"sum_axes": 1}, "y": {"sum_axes": 1}},
        torch=lambda torch, x, y: x + y,
        id="both-broadcast",
    ),
]
