"""Cases of losses."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case


def labels(rows, classes):
    return {"target": lambda rng: rng.integers(0, classes, rows)}


CASES = [
    Case(
        ops.cross_entropy,
        {"x": (6, 10)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        integers=labels(6, 10),
        torch=lambda torch, x, target: torch.nn.functional.cross_entropy(x, target),
    ),
    Case(
        ops.cross_entropy,
        {"x": (5, 70)},
        {"cross_entropy_forward": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "none"},
        labels(5, 70),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="none",
    ),
    Case(
        ops.cross_entropy,
        {"x": (3, 2)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "sum"},
        labels(3, 2),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="sum",
    ),
]
