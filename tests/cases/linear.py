"""Cases of linear layers."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case

CASES = [
    Case(
        ops.linear,
        {"x": (7, 5), "w": (6, 5), "b": (6,)},
        {"gemm": 1},
        {"x": {"gemm": 1}, "w": {"gemm": 1}, "b": {"sum_axes": 1}},
        torch=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
    ),
    Case(
        ops.linear,
        {"x": (2, 35, 19), "w": (67, 19), "b": None},
        {"gemm": 1},
        {"x": {"gemm": 1}, "w": {"gemm": 1}},
        torch=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
        id="ragged-tiles",
    ),
    Case(
        ops.linear,
        {"x": (2, 3, 0), "w": (4, 0), "b": (4,)},
        {"gemm": 1},
        {"w": {}, "x": {}, "b": {"sum_axes": 1}},
        torch=lambda torch, x, w, b: torch.nn.functional.linear(x, w, b),
        id="no-features",
    ),
]
