"""Sweeps of linear layers."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size


@st.composite
def layers(draw: Draw) -> Case:
    """Draw sizes round those of a tile, and none, with and without bias."""
    rows = draw(st.integers(0, 2).flatmap(lambda axes: shapes(axes, 5)))
    features, outputs = draw(size(18, 0)), draw(st.one_of(size(5, 0), size(66, 60)))
    if whole := draw(st.booleans()):  # chunks for tensor cores
        features, outputs = 4 * draw(size(10)), 4 * draw(size(5))
    bias = (outputs,) if draw(st.booleans()) else None
    shapes_of = {"x": (*rows, features), "w": (outputs, features), "b": bias}
    return Case(ops.linear, shapes_of, {}, attrs={"allow_tf32": whole and draw(st.booleans())})


SWEEPS = [Sweep(ops.linear, layers())]
