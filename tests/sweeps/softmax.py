"""Sweeps of softmax."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops.base import Op
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size
from tests.sweeps.elementwise import any_shape


@st.composite
def rows(draw: Draw, op: Op) -> Case:
    """Draw a shape, at times with a long axis, and which axis the rows run along."""
    shape = list(draw(any_shape()))
    axes = max(1, len(shape))
    dim = draw(st.integers(-axes, axes - 1))
    if shape and draw(st.booleans()):
        shape[dim] = draw(size(70, 30))
    return Case(op, {"x": tuple(shape)}, {}, {}, {"dim": dim})


SWEEPS = [Sweep(op, rows(op)) for op in (ops.softmax, ops.log_softmax)]
