"""Cases of batch norm."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special

STATISTICS = ("running_mean", "running_var", "weight", "bias")


def _torch(
    torch, x, running_mean, running_var, weight, bias, num_batches_tracked, training=False, momentum=0.1, eps=1e-5
):
    if training and num_batches_tracked is not None:
        num_batches_tracked += 1
        momentum = 1 / float(num_batches_tracked) if momentum is None else momentum
    return torch.nn.functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def batch_norm_case(x, id="", given=STATISTICS, batches=True, wide=(), **attrs):
    """Return a case; `given` names the arrays that are there. x of more than two axes is copied to channels-last."""
    training, spatial = attrs.get("training", False), len(x) > 2
    statistics = ("batch_norm_moments", "batch_norm_statistics") if training else ("batch_norm_running",)
    sums = ("batch_norm_sums", "batch_norm_totals")

    def launches(copies, *kernels):
        return {**dict.fromkeys(kernels, 1), **({"copy_strided": copies} if spatial else {})}

    return Case(
        ops.batch_norm,
        {"x": x, **{name: x[1:2] if name in given else None for name in STATISTICS}},
        launches(2, *statistics, "batch_norm_forward"),
        {
            "x": launches(3, *(sums if training else ()), "batch_norm_backward"),
            **{name: launches(2, *sums) for name in given if name in ("weight", "bias")},
        },
        attrs,
        {"num_batches_tracked": lambda rng: np.array(4) if batches else None},
        wide=wide,
        positive=("running_var",),
        torch=_torch,
        id=id,
    )


CASES = [
    batch_norm_case((7, 3), training=True),
    batch_norm_case((2, 3, 4, 5), training=True, momentum=0.3, eps=0.01),
    batch_norm_case((3, 35, 4), "columns", training=True, wide=STATISTICS),
    batch_norm_case((2, 3, 2, 3, 2), "average", training=True, momentum=None),
    batch_norm_case((1030, 2), "three-splits", training=True, batches=False),
    batch_norm_case((4200, 1), "nine-splits", training=True),
    batch_norm_case((70, 40), "vectors", training=True),
    batch_norm_case((2200, 3), "three-splits-of-few-channels", training=True),
    batch_norm_case((4700, 17), "more-splits-than-rows-of-threads", training=True),
    batch_norm_case((5, 4), "nothing-given", given=(), batches=False, training=True),
    batch_norm_case((5, 4), "weight-only", given=("weight",), batches=False, training=True, wide=("weight",)),
    batch_norm_case((5, 4), "bias-only", given=("bias",), batches=False, training=True),
    batch_norm_case((7, 3), "eval"),
    batch_norm_case((2, 3, 4, 5), "eval-wide", wide=STATISTICS, eps=0.01),
    batch_norm_case((3, 261), "eval-no-affine", given=STATISTICS[:2], batches=False),
]


def batch_norm_keeps_the_variance_of_values_far_from_zero(be):
    """Mean 1e4, standard deviation 1e-2, and among them values that do not belong there."""
    x = (1e4 + 1e-2 * np.random.default_rng(0).standard_normal((4200, 3))).astype(np.float32)
    x[[0, 600, 4100], 1] = 0
    exact = x.astype(np.float64)
    for part in (x, x[:5], x[600:1200]):
        exact = part.astype(np.float64)
        y, mean, inv_std = map(be.to_numpy, ops.batch_norm.forward(be.from_numpy(part), None, None, training=True))
        spacing = np.spacing(np.float32(1e4))  # no float32 mean is nearer than half of this
        assert np.abs(mean - exact.mean(axis=0)).max() <= spacing
        np.testing.assert_allclose(inv_std, 1 / np.sqrt(exact.var(axis=0) + 1e-5), rtol=1e-4)
        assert np.abs(y - (exact - exact.mean(axis=0)) * inv_std).max() <= 1.01 * spacing * inv_std.max()


def batch_norm_of_an_empty_batch_counts_and_changes_nothing_else(be):
    state = [be.from_numpy(np.full(3, 2, np.float32)) for _ in range(2)]
    batches = be.from_numpy(np.array(5))
    arrays = be.zeros((0, 3, 2), np.float32), *state, None, state[0], batches
    _, mean, inv_std = ops.batch_norm.forward(*arrays, training=True, eps=0.25)
    assert (be.to_numpy(mean) == 0).all() and (be.to_numpy(inv_std) == 2).all()
    assert all((be.to_numpy(array) == 2).all() for array in state) and be.to_numpy(batches) == 6
    gx, gb = ops.batch_norm.grad(*arrays[:1] * 2, *arrays[3:5], mean, inv_std, needs=["x", "bias"], training=True)
    assert gx.shape == (0, 3, 2) and (be.to_numpy(gb) == 0).all()


def batch_norm_leaves_running_statistics_alone_once_the_error_word_is_set(be):
    x = np.random.default_rng(1).standard_normal((9, 3)).astype(np.float32)
    state = [be.from_numpy(np.full(3, 2, np.float32)) for _ in range(2)]
    batches = be.from_numpy(np.array(5))
    be.fill(be.error_word, be.error_code(ValueError("a step before")))
    arrays = be.from_numpy(x), *state, None, None, batches
    y, *_ = ops.batch_norm.forward(*arrays, training=True, momentum=0.5)
    be.fill(be.error_word, 0)
    assert all((be.to_numpy(array) == 2).all() for array in state) and be.to_numpy(batches) == 5
    np.testing.assert_allclose(be.to_numpy(y).mean(axis=0), 0, atol=1e-6)


SPECIALS = [
    Special(("batch_norm_moments", "batch_norm_statistics"), check)
    for check in (
        batch_norm_keeps_the_variance_of_values_far_from_zero,
        batch_norm_of_an_empty_batch_counts_and_changes_nothing_else,
        batch_norm_leaves_running_statistics_alone_once_the_error_word_is_set,
    )
]
