"""Losses where Cases do not go: extreme values as PyTorch has them, ties, and which inputs have gradients."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.errors import DTypeError
from gpunet.nn import functional as F

NAMES = ("l1_loss", "mse_loss", "binary_cross_entropy_with_logits")
NAN, INF = np.nan, np.inf
X = [1.0, 2.0, NAN, 1.0, INF, -INF, INF, 1e4, -1e4, 1e4, -1e4, 0.0, -60.0, 60.0]
TARGET = [1.0, -3.0, 1.0, NAN, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.5, 0.0, 1.0]


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_extreme_values_ties_and_their_gradients_are_those_of_pytorch(be, torch, name):
    x, target = np.array(X, np.float32), np.array(TARGET, np.float32)
    theirs = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs, torch.tensor(target), reduction="none")
    ours = gpunet.Tensor(be.from_numpy(x), requires_grad=True)
    loss = getattr(F, name)(ours, gpunet.Tensor(be.from_numpy(target)), reduction="none")
    np.testing.assert_allclose(be.to_numpy(loss.array), expected.detach().numpy(), rtol=2e-6, atol=1e-30)
    expected.sum().backward()
    loss.backward(gpunet.Tensor(be.from_numpy(np.ones_like(x))))
    np.testing.assert_allclose(be.to_numpy(ours.grad.array), theirs.grad.numpy(), rtol=2e-6, atol=1e-30)


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_many_float16_losses_is_summed_in_float32(be, name):
    x = be.from_numpy(np.full(70_000, 3, np.float16))
    loss = getattr(ops, name)(x, be.from_numpy(np.zeros(70_000, np.float16)))
    exact = {"l1_loss": 3, "mse_loss": 9, "binary_cross_entropy_with_logits": 3 + np.log1p(np.exp(-3.0))}[name]
    assert loss.dtype == np.float16 and float(be.to_numpy(loss)) == np.float16(exact)


@pytest.mark.parametrize("name", NAMES[:2])
def test_both_gradients_of_inputs_in_different_memory_layouts_are_right(be, name):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    last = be.empty(x.shape, x.dtype, "channels_last")
    be.copy(last, be.from_numpy(x))
    op, gy = getattr(ops, name), be.from_numpy(x)
    for order in ((last, be.from_numpy(target)), (be.from_numpy(x), last)):
        gx, gtarget = op.grad(gy, *order, reduction="none")
        alone = op.grad(gy, *order, needs=["target"], reduction="none")
        assert np.array_equal(be.to_numpy(gx), -be.to_numpy(gtarget))
        assert np.array_equal(be.to_numpy(gtarget), be.to_numpy(alone))


def test_gradients_go_to_slots_of_another_layout(be):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    arrays = [be.from_numpy(x), be.from_numpy(np.round(x))]
    slots = [be.empty(x.shape, x.dtype, layout) for layout in ("contiguous", "channels_last")]
    ops.mse_loss.run_grad(be.from_numpy(np.array(1.0)), arrays, {"reduction": "sum"}, [True, True], slots)
    expected = 2 * (x - np.round(x))
    for slot, want in zip(slots, (expected, -expected), strict=True):
        np.testing.assert_allclose(be.to_numpy(slot), want, rtol=1e-15)


def test_a_target_without_a_gradient_must_not_require_one():
    x, target = gpunet.tensor([0.0], requires_grad=True), gpunet.tensor([1.0], requires_grad=True)
    with pytest.raises(DTypeError) as error:
        F.binary_cross_entropy_with_logits(x, target)
    assert str(error.value).splitlines() == [
        "binary_cross_entropy_with_logits: target requires a gradient, but there is none for it.",
        "  expected gradients for x only",
        "  hint: target.detach()",
    ]
    with gpunet.no_grad():
        assert F.binary_cross_entropy_with_logits(x, target).item() == pytest.approx(np.log(2))


def test_layers_compute_what_functions_do():
    x, target = gpunet.tensor([1.0, 5.0]), gpunet.tensor([2.0, 2.0])
    for layer, function in ((nn.L1Loss, F.l1_loss), (nn.MSELoss, F.mse_loss)):
        for reduction in ("mean", "sum", "none"):
            expected = function(x, target, reduction=reduction)
            assert layer(reduction=reduction)(x, target).numpy().tolist() == expected.numpy().tolist()
