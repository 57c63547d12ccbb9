"""Sweeps of losses."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size

reductions = st.sampled_from(["mean", "sum", "none"])


@st.composite
def cross_entropies(draw: Draw) -> Case:
    """Draw rows and classes, on both sides of a warp's width."""
    reduction = draw(reductions)
    rows, classes = draw(size(6, int(reduction == "mean"))), draw(st.one_of(size(5), size(34, 30)))
    labels = {"target": lambda rng: rng.integers(0, classes, rows)}
    return Case(ops.cross_entropy, {"x": (rows, classes)}, {}, {}, {"reduction": reduction}, labels)


SWEEPS = [Sweep(ops.cross_entropy, cross_entropies())]
