"""Activations where Cases do not go: extreme values as PyTorch has them, and what `inplace` says."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.nn import functional as F

EXTREME = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e4, -1e4, 100.0, -100.0, 1e-30, -1e-30, 1.0]
SETTINGS = [
    ("relu", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("elu", {}),
    ("elu", {"alpha": -1.5}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": -0.5}),
]


@pytest.mark.torch
@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda value: str(value))
def test_extreme_values_and_their_gradients_are_those_of_pytorch(be, torch, name, settings):
    x = np.array(EXTREME, np.float32)
    theirs = torch.tensor(x, requires_grad=True)
    ours = gpunet.Tensor(be.from_numpy(x), requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs, **settings)
    y = getattr(F, name)(ours, **settings)
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected.detach().numpy(), rtol=2e-6, atol=1e-38)
    expected.backward(torch.ones(len(EXTREME)))
    y.backward(gpunet.Tensor(be.from_numpy(np.ones_like(x))))
    np.testing.assert_allclose(ours.grad.cpu().numpy(), theirs.grad.numpy(), rtol=2e-6, atol=1e-38)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=lambda value: str(value))
def test_float16_rounds_once_what_float32_gives(be, name, settings):
    x = np.linspace(-8, 8, 997, dtype=np.float16)
    op = getattr(ops, name)
    half = be.to_numpy(op(be.from_numpy(x), **settings))
    single = be.to_numpy(op(be.from_numpy(x.astype(np.float32)), **settings))
    assert np.array_equal(half, single.astype(np.float16))


@pytest.mark.parametrize(
    "call",
    [
        nn.ReLU,
        nn.ELU,
        nn.LeakyReLU,
        *(lambda inplace, f=f: f(1, inplace=inplace) for f in (F.relu, F.elu, F.leaky_relu)),
    ],
)
def test_inplace_is_refused(call):
    with pytest.raises(NotImplementedError, match=r"(?i)elu: inplace=True is not in gpunet\n  hint: leave it out"):
        call(inplace=True)


def test_layers_show_their_settings_and_compute_what_functions_do():
    x = gpunet.tensor([-2.0, 0.5])
    for layer, text, expected in (
        (nn.ReLU(), "ReLU()", F.relu(x)),
        (nn.Sigmoid(), "Sigmoid()", x.sigmoid()),
        (nn.Tanh(), "Tanh()", x.tanh()),
        (nn.ELU(0.5), "ELU(alpha=0.5)", F.elu(x, 0.5)),
        (nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)", F.leaky_relu(x, 0.2)),
    ):
        assert repr(layer) == text
        assert layer(x).numpy().tolist() == expected.numpy().tolist()
