"""Sweeps of losses."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops.base import Op
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size

reductions = st.sampled_from(["mean", "sum", "none"])


@st.composite
def cross_entropies(draw: Draw) -> Case:
    """Draw rows and classes, on both sides of a warp's width."""
    reduction = draw(reductions)
    rows, classes = draw(size(6, int(reduction == "mean"))), draw(st.one_of(size(5), size(34, 30)))
    labels = {"target": lambda rng: rng.integers(0, classes, rows)}
    return Case(ops.cross_entropy, {"x": (rows, classes)}, {}, {}, {"reduction": reduction}, labels)


@st.composite
def elementwise_losses(draw: Draw, op: Op) -> Case:
    """Draw a shape for x and the target; the mean of nothing is NaN, and another test's."""
    reduction = draw(reductions)
    shape = draw(st.integers(0, 4).flatmap(lambda axes: shapes(axes, 4, int(reduction == "mean"))))
    return Case(op, {"x": shape, "target": shape}, {}, {}, {"reduction": reduction})


@st.composite
def binary_cross_entropies(draw: Draw) -> Case:
    """Draw weights that broadcast, or none."""
    case = draw(elementwise_losses(ops.binary_cross_entropy_with_logits))
    shape, drawn = case.shapes["x"], dict(case.shapes)
    for name in ("weight", "pos_weight"):
        if draw(st.booleans()):
            drawn[name] = tuple(draw(st.sampled_from([1, n])) for n in shape[draw(size(len(shape), 0)) :])
    return dataclasses.replace(case, shapes=drawn, positive=("weight", "pos_weight"))


SWEEPS = [
    Sweep(ops.cross_entropy, cross_entropies()),
    Sweep(ops.l1_loss, elementwise_losses(ops.l1_loss)),
    Sweep(ops.mse_loss, elementwise_losses(ops.mse_loss)),
    Sweep(ops.binary_cross_entropy_with_logits, binary_cross_entropies()),
]
