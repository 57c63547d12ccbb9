"""Cases of softmax: rows of neighbours, made by lanes of a warp or by a block, and rows of one thread each."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case


def softmax_case(op, x, dim, id=""):
    name = op.__name__

    def same_in_torch(torch, x, dim):
        return getattr(torch.nn.functional, name)(x, dim)

    gradient = {"x": {f"{name}_backward": 1}}
    return Case(op, {"x": x}, {f"{name}_forward": 1}, gradient, {"dim": dim}, torch=same_in_torch, id=id)


CASES = [
    softmax_case(op, x, dim, id)
    for op in (ops.softmax, ops.log_softmax)
    for x, dim, id in (
        ((6, 10), 1, ""),
        ((5, 1), 1, "rows-of-one"),
        ((300, 2), 1, "more-rows-than-threads"),
        ((67, 3), -1, "a-lane-per-row"),
        ((19, 16), 1, "whole-vectors"),
        ((9, 33), 1, "half-a-warp"),
        ((5, 70), -1, "a-warp"),
        ((3, 264), 1, "vectors-of-a-warp"),
        ((2, 1040), 1, "a-block"),
        ((1, 4104), 1, "a-large-block"),
        ((2, 1033), 1, "a-block-without-vectors"),
        ((3, 5, 4), 1, "strided"),
        ((67, 3), 0, "first-axis"),
        ((2, 3, 9, 8), 1, "channels"),
        ((7,), 0, "one-row"),
    )
]
