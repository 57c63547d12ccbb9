"""Sweeps of shape ops."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep
from tests.sweeps.elementwise import any_shape


@st.composite
def reshapes(draw: Draw) -> Case:
    """Draw a shape and another one with as many elements."""
    shape = draw(any_shape())
    axes = draw(st.permutations(shape))
    at = draw(st.integers(0, len(axes)))
    new = (*axes[:at], -1) if 0 not in axes else tuple(axes)
    return Case(ops.reshape, {"x": shape}, {}, {}, {"shape": new})


SWEEPS = [Sweep(ops.reshape, reshapes())]
