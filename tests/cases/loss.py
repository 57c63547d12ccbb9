"""Cases of losses."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


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
    cross_entropy_case((5, 1), id="one-class"),
    cross_entropy_case((300, 2), id="more-rows-than-threads", reduction="none"),
    cross_entropy_case((9, 33), id="half-a-warp", ignored=-100),
    cross_entropy_case((3, 264), id="vectors-of-a-warp", label_smoothing=0.1, weight=(264,)),
    cross_entropy_case((3, 1040), id="a-block", ignored=-100),
    cross_entropy_case((2, 1033), id="a-block-without-vectors", label_smoothing=0.1),
    cross_entropy_case((1, 4104), id="a-large-block", reduction="none"),
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
    cross_entropy_case((2, 1040), indices=False, id="probabilities-of-a-block", weight=(1040,)),
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
            elementwise_case(op, (3, 701), id="two-blocks-none", reduction="none"),
        )
    ),
    binary_case((5, 3)),
    binary_case((2, 3, 5), id="weights", copies=2, weight=(5,), pos_weight=(3, 1)),
    binary_case((4, 3), id="weight", weight=(4, 3), reduction="sum"),
    binary_case((4, 7), id="pos-weight", copies=1, pos_weight=(7,), reduction="none"),
    binary_case((2100,), id="two-blocks"),
    binary_case((3, 701), id="two-blocks-none", copies=2, weight=(701,), pos_weight=(701,), reduction="none"),
    *CROSS_ENTROPIES,
]


def the_target_alone_gets_a_gradient(be):
    x, target, gy = (be.from_numpy(np.asarray(values, np.float32)) for values in ([1, -2, 5], [0, 4, 5], 3))
    for op, expected in ((ops.l1_loss, [-1, 1, 0]), (ops.mse_loss, [-2, 12, 0])):
        assert be.to_numpy(op.grad(gy, x, target, needs=["target"])).tolist() == expected


def a_class_that_does_not_exist_costs_nothing_and_sets_the_error_word(be):
    """With one weight per class, as in a row of losses: what is read for a wrong index would show."""
    x = be.from_numpy(np.array([[0, 1], [3, -2], [2, 2], [5, 0]], np.float32))
    weight = be.from_numpy(np.ones(2, np.float32))
    for wrong in (-1, 2, 1 << 40):
        target = be.from_numpy(np.array([wrong, 7, wrong, 1]))
        for options, expected in (({"reduction": "none"}, [0, 0, 0, 5.0067]), ({"reduction": "mean"}, 5.0067)):
            loss, *saved = ops.cross_entropy.forward(x, target, weight, ignore_index=7, **options)
            assert _taken_error(be)
            np.testing.assert_allclose(be.to_numpy(loss), expected, rtol=1e-5)
            named = dict(zip((*ops.cross_entropy.outputs, *ops.cross_entropy.extras), (loss, *saved), strict=True))
            named |= {"x": x, "target": target, "weight": weight}
            gy = be.from_numpy(np.ones(loss.shape, np.float32))
            arrays = [named[name] for name in ops.cross_entropy.saves]
            gx = be.to_numpy(ops.cross_entropy.grad(gy, *arrays, ignore_index=7, **options))
            np.testing.assert_allclose(gx, [[0, 0], [0, 0], [0, 0], [0.99331, -0.99331]], rtol=1e-5)


def an_ignored_class_sets_no_error_word(be):
    x, target = be.from_numpy(np.ones((2, 3), np.float32)), be.from_numpy(np.array([-100, 1]))
    ops.cross_entropy(x, target)
    assert not _taken_error(be)


def a_class_of_probability_zero_costs_nothing(be):
    x, target = (be.from_numpy(np.array([row], np.float32)) for row in ([0, -np.inf, 0], [0.5, 0, 0.5]))
    np.testing.assert_allclose(be.to_numpy(ops.cross_entropy(x, target)), np.log(2), rtol=1e-6)


def sums_of_one_row_do_not_meet(be):
    """A block that shares a row adds up twice, in the same shared memory."""
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((1, 515)).astype(np.float32), np.array([7])
    loss = ops.cross_entropy(be.from_numpy(x), be.from_numpy(target), label_smoothing=0.5)
    np.testing.assert_allclose(be.to_numpy(loss), ops.cross_entropy(x, target, label_smoothing=0.5), rtol=1e-6)


def _taken_error(be):
    """Say whether the error word names a class that does not exist, and clear it."""
    try:
        be.to_numpy(be.error_word)
    except IndexError as error:
        return "a class index is out of range" in str(error)
    return False


SPECIALS = [
    Special(("l1_loss_backward", "mse_loss_backward"), the_target_alone_gets_a_gradient),
    Special(
        ("cross_entropy_forward", "cross_entropy_backward"),
        a_class_that_does_not_exist_costs_nothing_and_sets_the_error_word,
    ),
    Special(("cross_entropy_forward",), an_ignored_class_sets_no_error_word),
    Special(("cross_entropy_forward",), a_class_of_probability_zero_costs_nothing),
    Special(("cross_entropy_forward",), sums_of_one_row_do_not_meet),
]
