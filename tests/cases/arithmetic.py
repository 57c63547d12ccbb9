"""Cases of arithmetic with broadcasting."""

from __future__ import annotations

import operator

from gpunet import ops
from tests.harness.case import Case

PYTHON = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv}


def arithmetic_case(op, x, y, grad_launches, id="", number=None):
    """Return the case of an op on two arrays, or on one (the other shape is None) and a number."""

    def by_pytorch(torch, x, y, number=None):
        return PYTHON[op.name](number if x is None else x, number if y is None else y)

    return Case(
        op,
        {"x": x, "y": y},
        {f"{op.name}_forward": 1},
        grad_launches,
        {} if number is None else {"number": number},
        positive=("y",) if op is ops.div else (),
        torch=by_pytorch,
        id=id,
    )


def four(op, of_x, of_y):
    """Return an op's cases: one operand broadcast, both, and a number on either side."""
    total = {"sum_axes": 1}
    return [
        arithmetic_case(op, (2, 3, 4, 5), (3, 1, 1), {"x": of_x, "y": {**of_y, **total}}),
        arithmetic_case(op, (1, 7), (4, 1, 1), {"x": {**of_x, **total}, "y": {**of_y, **total}}, id="both-broadcast"),
        arithmetic_case(op, (3, 1), (1, 7), {"x": {**of_x, **total}, "y": {**of_y, **total}}, id="ragged-table"),
        arithmetic_case(op, (3, 100), None, {"x": of_x}, id="x-and-number", number=2.5),
        arithmetic_case(op, None, (5,), {"y": of_y}, id="number-and-y", number=-1.5),
    ]


CASES = [
    *four(ops.add, {}, {}),
    *four(ops.sub, {}, {"neg": 1}),
    *four(ops.mul, {"mul_forward": 1}, {"mul_forward": 1}),
    *four(ops.div, {"div_forward": 1}, {"div_forward": 1, "mul_forward": 1, "neg": 1}),
    Case(ops.neg, {"x": (2, 3, 5)}, {"neg": 1}, {"x": {"neg": 1}}, torch=lambda torch, x: -x),
    Case(ops.neg, {"x": (700,)}, {"neg": 1}, {"x": {"neg": 1}}, torch=lambda torch, x: -x),
]
