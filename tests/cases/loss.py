"""Cases of losses."""

from __future__ import annotations

from gpunet import ops
from tests.harness.case import Case


def labels(rows, classes):
    return {"target": lambda rng: rng.integers(0, classes, rows)}


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
    Case(
        ops.cross_entropy,
        {"x": (6, 10)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        integers=labels(6, 10),
        torch=lambda torch, x, target: torch.nn.functional.cross_entropy(x, target),
    ),
    Case(
        ops.cross_entropy,
        {"x": (5, 70)},
        {"cross_entropy_forward": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "none"},
        labels(5, 70),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="none",
    ),
    Case(
        ops.cross_entropy,
        {"x": (3, 2)},
        {"cross_entropy_forward": 1, "sum_axes": 1},
        {"x": {"cross_entropy_backward": 1}},
        {"reduction": "sum"},
        labels(3, 2),
        torch=lambda torch, x, target, reduction: torch.nn.functional.cross_entropy(x, target, reduction=reduction),
        id="sum",
    ),
]
