"""Sweeps of reductions."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep
from tests.sweeps.elementwise import any_shape


@st.composite
def sums(draw: Draw) -> Case:
    """Draw a shape and what it is summed to."""
    shape = draw(any_shape())
    skipped = draw(st.integers(0, len(shape)))
    size = tuple(1 if draw(st.booleans()) else n for n in shape[skipped:])
    return Case(ops.sum_to_size, {"x": shape}, {}, attrs={"size": size})


SWEEPS = [Sweep(ops.sum_to_size, sums())]
