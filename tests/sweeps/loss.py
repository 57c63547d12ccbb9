"""Sweeps of losses."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops.base import Op
from tests.cases.loss import cross_entropy_case
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size

reductions = st.sampled_from(["mean", "sum", "none"])


@st.composite
def cross_entropies(draw: Draw) -> Case:
    """Draw rows and classes, on both sides of a warp's width, and all settings; a mean of nothing is another test's."""
    attrs = {"reduction": draw(reductions), "label_smoothing": draw(st.sampled_from([0.0, 0.0, 0.2, 1.0]))}
    indices, classes = draw(st.booleans()), draw(st.one_of(size(5), size(34, 30)))
    least = int(attrs["reduction"] == "mean")
    rows = draw(st.one_of(st.just(()), *(shapes(axes, 6 // axes, least) for axes in (1, 2, 3))))
    if indices:
        attrs["ignore_index"] = draw(st.integers(-2, 4)) if least == 0 else -1
    return cross_entropy_case(
        (*rows[:1], classes, *rows[1:]),
        indices,
        attrs.get("ignore_index"),
        weight=draw(st.sampled_from([None, (classes,)])),
        **attrs,
    )


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
