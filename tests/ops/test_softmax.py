"""Softmax where Cases do not go: extreme values as PyTorch has them, scalars, long rows."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops

NAN, INF = np.nan, np.inf
EXTREME = [[1e4, 0, -1e4], [1e4, 1e4, 9999], [NAN, 0, 1], [INF, 0, 1], [-INF, 0, 1], [-INF, -INF, -INF], [-1e4, 0, NAN]]
both = pytest.mark.parametrize("name", ["softmax", "log_softmax"])


@pytest.mark.torch
@both
@pytest.mark.parametrize("dim", [0, 1])
def test_extreme_values_and_their_gradients_are_those_of_pytorch(be, torch, name, dim):
    x = np.array(EXTREME, np.float32) if dim else np.array(EXTREME, np.float32).T
    gy = np.arange(1, x.size + 1, dtype=np.float32).reshape(x.shape)
    theirs = torch.tensor(x.copy(), requires_grad=True)
    ours = gpunet.Tensor(be.from_numpy(x), requires_grad=True)
    expected, y = getattr(theirs, name)(dim), getattr(ours, name)(dim)
    np.testing.assert_allclose(be.to_numpy(y.array), expected.detach().numpy(), rtol=2e-6)
    expected.backward(torch.tensor(gy))
    y.backward(gpunet.Tensor(be.from_numpy(gy)))
    np.testing.assert_allclose(be.to_numpy(ours.grad.array), theirs.grad.numpy(), rtol=2e-6, atol=1e-6)


@both
def test_nan_and_infinity_anywhere_in_a_long_row_are_not_lost(be, name):
    for place in (0, 31, 32, 63, 69):
        for value in (NAN, INF):
            x = np.zeros((3, 70), np.float32)
            x[1, place] = value
            y = be.to_numpy(getattr(ops, name)(be.from_numpy(x), 1))
            assert np.isnan(y).all(axis=1).tolist() == [False, True, False]


@both
def test_a_scalar_is_a_row_of_one(be, name):
    x = be.from_numpy(np.array(5.0))
    for dim in (0, -1):
        assert be.to_numpy(getattr(ops, name)(x, dim)) == (1 if name == "softmax" else 0)


def test_many_pieces_on_the_cpu_give_what_one_gives():
    x = np.random.default_rng(0).standard_normal((1500, 100)).astype(np.float32)
    for op in (ops.softmax, ops.log_softmax):
        y = op(x, 1)
        assert all(np.array_equal(op(x[i : i + 1], 1), y[i : i + 1]) for i in (0, 655, 656, 1499))
        gx = op.grad(x, y, dim=1)
        assert all(np.array_equal(op.grad(x[i : i + 1], y[i : i + 1], dim=1), gx[i : i + 1]) for i in (0, 655, 1499))


def test_layers_compute_what_functions_do():
    x = gpunet.tensor([[1.0, 2.0], [0.0, 5.0]])
    for layer, expected in ((nn.Softmax(0), x.softmax(0)), (nn.LogSoftmax(-1), gpunet.log_softmax(x, -1))):
        assert layer(x).numpy().tolist() == expected.numpy().tolist()
        assert repr(layer) == f"{type(layer).__name__}(dim={layer.dim})"
