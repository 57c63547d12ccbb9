"""Sweeps of reductions."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes
from tests.sweeps.elementwise import any_shape


@st.composite
def sums(draw: Draw) -> Case:
    """Draw a shape and what it is summed to."""
    shape = draw(any_shape())
    skipped = draw(st.integers(0, len(shape)))
    size = tuple(1 if draw(st.booleans()) else n for n in shape[skipped:])
    return Case(ops.sum_to_size, {"x": shape}, {}, attrs={"size": size})


@st.composite
def over_axes(draw: Draw, op: ops.base.Op) -> Case:
    """Draw a shape and some of its axes, counted from the front or from the end."""
    least = 1 if op is ops.mean else 0  # the mean of nothing is NaN, as tests/ops/test_sums.py says
    shape = draw(st.integers(0, 5).flatmap(lambda axes: shapes(axes, 4, least)))
    axes = draw(st.lists(st.integers(0, max(len(shape) - 1, 0)), unique=True)) if shape else []
    dim = tuple(axis - len(shape) * draw(st.integers(0, 1)) for axis in axes)
    chosen = dim[0] if len(dim) == 1 and draw(st.booleans()) else dim or None
    return Case(op, {"x": shape}, {}, attrs={"dim": chosen, "keepdim": draw(st.booleans())})


SWEEPS = [Sweep(ops.sum_to_size, sums()), Sweep(ops.sum, over_axes(ops.sum)), Sweep(ops.mean, over_axes(ops.mean))]
