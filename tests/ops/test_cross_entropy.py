"""Cross entropy where Cases do not go: extreme logits, ignored rows, both kinds of target, layers."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.errors import DTypeError
from gpunet.nn import functional as F

INF = np.inf
LOGITS = [
    [1e4, 0.0, -1e4],
    [1e4, 9999.0, 9998.0],
    [0.0, -1e4, 1e4],
    [-INF, 0.0, 1.0],
    [np.nan, 0.0, 1.0],
    [INF, 0.0, 1.0],
    [1.0, 2.0, 3.0],
]
INDICES = [0, 1, 1, 2, 0, 0, 2]


def tensor(be, values, dtype=np.float32, requires_grad=False):
    return gpunet.Tensor(be.from_numpy(np.array(values, dtype)), requires_grad)


def host(be, tensor):
    return be.to_numpy(tensor.array)


@pytest.mark.torch
@pytest.mark.parametrize("settings", [{}, {"ignore_index": 1}], ids=str)
def test_extreme_logits_and_their_gradients_are_those_of_pytorch(be, torch, settings):
    theirs = torch.tensor(LOGITS, requires_grad=True)
    ours = tensor(be, LOGITS, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(INDICES), reduction="none", **settings)
    loss = F.cross_entropy(ours, tensor(be, INDICES, np.int64), reduction="none", **settings)
    np.testing.assert_allclose(host(be, loss), expected.detach().numpy(), rtol=2e-6)
    expected.sum().backward()
    loss.backward(tensor(be, np.ones(len(INDICES))))
    np.testing.assert_allclose(host(be, ours.grad), theirs.grad.numpy(), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 7), (2, 7, 3), (7,)])
def test_one_hot_probabilities_give_what_indices_give(be, shape):
    rng = np.random.default_rng(0)
    x, axis = rng.standard_normal(shape), min(1, len(shape) - 1)
    indices = rng.integers(0, 7, shape[:axis] + shape[axis + 1 :])
    one_hot = np.moveaxis(np.eye(7)[indices], -1, axis)
    for settings in ({}, {"label_smoothing": 0.1}, {"reduction": "none"}, {"reduction": "sum"}):
        losses, gradients = [], []
        for target in (indices, one_hot):
            logits = tensor(be, x, x.dtype, requires_grad=True)
            loss = F.cross_entropy(logits, tensor(be, target, target.dtype), **settings)
            loss.backward(tensor(be, np.ones(loss.shape), x.dtype))
            losses.append(host(be, loss))
            gradients.append(host(be, logits.grad))
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-14)
        np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-13, atol=1e-16)


def test_rows_that_are_ignored_cost_nothing_even_if_they_are_nan_and_all_of_them_give_nan(be):
    x, target = tensor(be, [[np.nan] * 3, [0.0] * 3], requires_grad=True), tensor(be, [-100, 2], np.int64)
    loss = F.cross_entropy(x, target)
    loss.backward()
    assert host(be, loss) == pytest.approx(np.log(3))
    np.testing.assert_allclose(host(be, x.grad), [[0, 0, 0], [1 / 3, 1 / 3, -2 / 3]], rtol=1e-6)
    x, target = tensor(be, [[0.0, 1.0]], requires_grad=True), tensor(be, [-100], np.int64)
    loss = F.cross_entropy(x, target)
    loss.backward()
    assert np.isnan(host(be, loss)) and host(be, x.grad).tolist() == [[0, 0]]


def test_a_class_of_probability_0_costs_nothing_whatever_its_logit_is(be):
    x = tensor(be, [[-INF, 0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, tensor(be, [[0.0, 0.5, 0.5]]))
    loss.backward()
    assert host(be, loss) == pytest.approx(np.log(2)) and host(be, x.grad).tolist() == [[0, 0, 0]]


def test_float16_keeps_what_float32_computes(be):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((70, 300)).astype(np.float16), rng.integers(0, 300, 70)
    half, single = (
        ops.cross_entropy.forward(be.from_numpy(x.astype(dtype)), be.from_numpy(target))
        for dtype in (np.float16, np.float32)
    )
    assert be.to_numpy(half[0]) == be.to_numpy(single[0]).astype(np.float16)
    for narrow, wide in zip(half[1:], single[1:], strict=True):
        np.testing.assert_allclose(be.to_numpy(narrow), be.to_numpy(wide), rtol=1e-6)


@pytest.mark.parametrize("shape", [(8200, 65), (2, 3, 131_100)], ids=["a warp per row", "a thread per row"])
def test_blocks_take_several_rows_where_there_are_many(be, shape):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    rows = np.moveaxis(x, 1, -1)
    costs = np.log(np.exp(rows).sum(-1)) - np.take_along_axis(rows, target[..., None], -1)[..., 0]
    loss, *extras = ops.cross_entropy.forward(be.from_numpy(x), be.from_numpy(target))
    assert float(be.to_numpy(loss)) == pytest.approx(costs.mean(), rel=1e-13)
    gx = ops.cross_entropy.grad(loss, be.from_numpy(x), be.from_numpy(target), None, *extras)
    softmax = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    expected = (softmax - np.eye(shape[1])[target]) * (costs.mean() / target.size)
    np.testing.assert_allclose(be.to_numpy(gx), np.moveaxis(expected, -1, 1), rtol=1e-11, atol=1e-20)


def test_probabilities_must_not_require_a_gradient():
    x = gpunet.tensor([[0.0, 0.0]], requires_grad=True)
    with pytest.raises(DTypeError, match=r"target requires a gradient(.|\n)*hint: target\.detach\(\)"):
        F.cross_entropy(x, gpunet.tensor([[0.5, 0.5]], requires_grad=True))


def test_layers_pass_their_settings_on_and_move_their_weights(be):
    x, target, weight = gpunet.tensor([[0.0, 1.0], [2.0, 0.0]]), gpunet.tensor([0, 1]), gpunet.tensor([1.0, 3.0])
    layer = nn.CrossEntropyLoss(weight, ignore_index=1, reduction="sum", label_smoothing=0.2).to(be.device)
    expected = F.cross_entropy(x, target, weight, ignore_index=1, reduction="sum", label_smoothing=0.2)
    assert layer(x.to(be.device), target.to(be.device)).item() == pytest.approx(expected.item())
    answers = gpunet.tensor([[0.0, 1.0], [1.0, 0.0]])
    layer = nn.BCEWithLogitsLoss(weight, reduction="sum", pos_weight=gpunet.tensor([[2.0], [5.0]])).to(be.device)
    expected = F.binary_cross_entropy_with_logits(
        x, answers, weight, pos_weight=gpunet.tensor([[2.0], [5.0]]), reduction="sum"
    )
    assert layer(x.to(be.device), answers.to(be.device)).item() == pytest.approx(expected.item())
    assert list(layer.state_dict()) == ["weight", "pos_weight"] and list(nn.CrossEntropyLoss().state_dict()) == []
