"""Cases of reductions."""

from __future__ import annotations

import functools

import numpy as np

from gpunet import ops
from tests.harness.case import FLOATS, TOLERANCE, Case, Special


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
    """Of neighbours, splits of 4096 by 256 threads: vectors t, t + 256, ..., then in a tree; the splits likewise."""

    def in_order(values, threads):
        shares = [
            functools.reduce(np.add, (v for i in range(4 * t, len(values), 4 * threads) for v in values[i : i + 4]))
            if 4 * t < len(values)
            else np.float32(0)
            for t in range(threads)
        ]
        while len(shares) > 1:
            half = len(shares) // 2
            shares = [a + b for a, b in zip(shares[:half], shares[half:], strict=True)]
        return shares[0]

    values = np.random.default_rng(7).standard_normal(5000).astype(np.float32)
    expected = in_order(np.array([in_order(values[:4096], 256), in_order(values[4096:], 256)]), 1)
    assert be.to_numpy(ops.sum(be.from_numpy(values))).tobytes() == expected.tobytes()


def sums_of_any_shape_are_right(be):
    """Few and many outputs, adjacent or not; summands in one run or several, in vectors or one by one, in splits."""
    for shape, dim in (
        ((5000,), 0),
        ((1300, 33), 0),
        ((3, 1300), 1),
        ((300, 10), 1),
        ((7, 3, 12), (0, 2)),
        ((4, 9, 700), (0, 2)),
        ((30, 2, 35), (0, 2)),
        ((20, 3, 5, 8), (1, 3)),
        ((2500, 2), 0),
        ((0, 3), 0),
        ((3, 0), 1),
    ):
        for dtype in FLOATS:
            x = np.round(np.random.default_rng(3).standard_normal(shape), 1).astype(dtype)
            exact, size = np.sum(x, axis=dim, dtype=np.float64), np.sum(abs(x), axis=dim, dtype=np.float64)
            error = abs(be.to_numpy(ops.sum(be.from_numpy(x), dim)).astype(np.float64) - exact)
            assert (error <= TOLERANCE[np.dtype(dtype).name] * np.maximum(size, 1)).all(), (shape, dim, dtype)


SPECIALS = [
    Special(("sum_axes",), sums_are_taken_in_the_order_that_the_kernel_states),
    Special(("sum_axes",), sums_of_any_shape_are_right),
]
