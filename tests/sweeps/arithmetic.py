"""Sweeps of arithmetic with broadcasting."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep
from tests.sweeps.elementwise import any_shape, unary


@st.composite
def broadcasting(draw: Draw, op: ops.base.Op) -> Case:
    """Draw two shapes that broadcast, or one shape and a number."""
    full = draw(any_shape())
    pair: list[tuple[int, ...] | None] = []
    for _ in range(2):
        ones = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        skipped = draw(st.integers(0, len(full)))
        pair.append(tuple(1 if one else n for n, one in zip(full, ones, strict=True))[skipped:])
    attrs = {}
    if draw(st.integers(0, 3)) == 0:
        pair[draw(st.integers(0, 1))] = None
        attrs["number"] = draw(st.sampled_from([-0.3, 1.0, 7.0]))
    positive = ("y",) if op is ops.div else ()
    return Case(op, dict(zip(op.inputs, pair, strict=True)), {}, {}, attrs, positive=positive)


SWEEPS = [*(Sweep(op, broadcasting(op)) for op in (ops.add, ops.sub, ops.mul, ops.div)), unary(ops.neg)]
