"""Cases of reductions."""

from __future__ import annotations

import functools

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


def sum_case(op, x, passes=1, id="", **attrs):
    scaled = {"div_forward": 1} if op is ops.mean and x else {}
    by_pytorch = (lambda torch, x, **attrs: getattr(torch, op.name)(x, **attrs)) if x else None
    return Case(op, {"x": x}, {"sum_axes": passes}, {"x": scaled}, attrs, torch=by_pytorch, id=id)


CASES = [
    *(
        case
        for op in (ops.sum, ops.mean)
        for case in (
            sum_case(op, (2, 3, 4, 5), id="all", dim=None),
            sum_case(op, (2, 3, 4, 5), id="outer-and-inner", dim=(0, -1)),
            sum_case(op, (2, 3, 4, 5), id="keepdim", dim=(1, 3), keepdim=True),
            sum_case(op, (2100, 3), passes=2, id="two-passes", dim=0),
            sum_case(op, (3, 700), id="rows", dim=-1),
            sum_case(op, (), id="one-number"),
        )
    ),
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


def sums_are_taken_in_the_order_that_the_kernel_states(be):
    """Splits of 1024, thread row r taking summands r, r + 8, ..., rows in order, then the splits likewise."""

    def in_order(values):
        rows = [functools.reduce(np.add, values[row::8], np.float32(0)) for row in range(8)]
        return functools.reduce(np.add, rows)

    values = np.random.default_rng(7).standard_normal(2100).astype(np.float32)
    expected = in_order(np.array([in_order(values[i : i + 1024]) for i in (0, 1024, 2048)]))
    assert be.to_numpy(ops.sum(be.from_numpy(values))).tobytes() == expected.tobytes()


SPECIALS = [Special(("sum_axes",), sums_are_taken_in_the_order_that_the_kernel_states)]
