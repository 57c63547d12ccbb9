"""Cases of losses."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case


def elementwise_case(op, x, id="", **attrs):
    """Return the case of a loss between x and a target of one shape; one block sums 2048 elements."""
    name, none = op.__name__, attrs.get("reduction") == "none"
    launches = {f"{name}_forward": 1, **({} if none else {"sum_axes": 1})}
    gradients = {"x": {f"{name}_backward": 1}, "target": {f"{name}_backward": 1}}

    def same_in_torch(torch, x, target, **attrs):
        return getattr(torch.nn.functional, name)(x, target, **attrs)

    return Case(op, {"x": x, "target": x}, launches, gradients, attrs, torch=same_in_torch, id=id)


def binary_case(x, id="", copies=0, **shapes):
    """Return the case of a binary cross entropy; `copies` counts the weights that are expanded."""
    name = "binary_cross_entropy_with_logits"
    reduction = shapes.pop("reduction", "mean")
    expanded = {"copy_strided": copies} if copies else {}
    return Case(
        ops.binary_cross_entropy_with_logits,
        {"x": x, "target": x, **shapes},
        {f"{name}_forward": 1, **expanded, **({} if reduction == "none" else {"sum_axes": 1})},
        {"x": {f"{name}_backward": 1, **expanded}},
        {"reduction": reduction},
        positive=("weight", "pos_weight"),
        torch=lambda torch, x, target, weight, pos_weight, reduction: (
            torch.nn.functional.binary_cross_entropy_with_logits(
                x, target, weight, pos_weight=pos_weight, reduction=reduction
            )
        ),
        id=id,
    )


def cross_entropy_case(x, indices=True, ignored=None, id="", **attrs):
    """Return the case of a cross entropy; rows lie along axis 1, and every second index is ignored if one is."""
    weight = attrs.pop("weight", None)
    reduction = attrs.get("reduction", "mean")
    rows, classes = ((), x[0]) if len(x) == 1 else ((x[0], *x[2:]), x[1])

    def draw(rng):
        drawn = np.asarray(rng.integers(0, classes, rows))
        if ignored is not None:
            drawn.reshape(-1)[1::2] = ignored
        return drawn

    return Case(
        ops.cross_entropy,
        {"x": x, "weight": weight, **({} if indices else {"target": x})},
        {"cross_entropy_forward": 1, **({"fill": 1} if reduction == "none" else {"cross_entropy_reduce": 1})},
        {"x": {"cross_entropy_backward": 1}},
        attrs,
        {"target": draw} if indices else {},
        positive=("weight", "target"),
        torch=lambda torch, x, target, weight, **attrs: torch.nn.functional.cross_entropy(x, target, weight, **attrs),
        id=id,
    )


CROSS_ENTROPIES = [
    cross_entropy_case((6, 10)),
    cross_entropy_case((5, 70), id="none", reduction="none"),
    cross_entropy_case((3, 2), id="sum", reduction="sum"),
    cross_entropy_case((7,), id="one-row"),
    cross_entropy_case((6, 5), id="weight", weight=(5,)),
    cross_entropy_case((7, 5), id="ignored", ignored=-100),
    cross_entropy_case((7, 5), id="ignore-index", ignored=2, ignore_index=2, weight=(5,), label_smoothing=0.3),
    cross_entropy_case((4, 40), id="smoothing", label_smoothing=0.1, reduction="sum"),
    cross_entropy_case((2, 3, 4, 5), id="images", weight=(3,)),
    cross_entropy_case((2, 5, 3), id="sequences", reduction="none", ignored=0, ignore_index=0, label_smoothing=0.2),
    cross_entropy_case((2, 3, 2500), id="many-blocks"),
    cross_entropy_case((6, 10), indices=False, id="probabilities"),
    cross_entropy_case((2, 3, 4, 5), indices=False, id="probabilities-all", weight=(3,), label_smoothing=0.1),
    cross_entropy_case((3, 33), indices=False, id="probabilities-none", reduction="none", label_smoothing=1.0),
    cross_entropy_case((4,), indices=False, id="probabilities-sum", reduction="sum"),
]

CASES = [
    *(
        case
        for op in (ops.l1_loss, ops.mse_loss)
        for case in (
            elementwise_case(op, (3, 5)),
            elementwise_case(op, (2, 3, 4, 5), id="none", reduction="none"),
            elementwise_case(op, (7, 3), id="sum", reduction="sum"),
            elementwise_case(op, (3, 700), id="two-blocks"),
        )
    ),
    binary_case((5, 3)),
    binary_case((2, 3, 5), id="weights", copies=2, weight=(5,), pos_weight=(3, 1)),
    binary_case((4, 3), id="weight", weight=(4, 3), reduction="sum"),
    binary_case((4, 7), id="pos-weight", copies=1, pos_weight=(7,), reduction="none"),
    binary_case((2100,), id="two-blocks"),
    *CROSS_ENTROPIES,
]
