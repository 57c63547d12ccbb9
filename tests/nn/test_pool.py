"""Pooling layers: PyTorch's signatures, texts and values; channels-last outputs; indices."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.backend import layout_of

LAYERS = [
    ("MaxPool", (3, 2, 1), {}),
    ("MaxPool", (2,), {"ceil_mode": True}),
    ("AvgPool", (3, 2, 1), {"count_include_pad": False}),
    ("AvgPool", (2,), {"ceil_mode": True}),
    ("AdaptiveMaxPool", (3,), {}),
    ("AdaptiveAvgPool", (3,), {}),
]
NAMES = [
    f"{stem}{axes}d" for stem in ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool") for axes in (1, 2, 3)
]
BEYOND_PYTORCH = {"AvgPool1d": {"divisor_override"}}


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_pytorchs(torch, name):
    ours = dict(inspect.signature(getattr(nn, name)).parameters)
    for extra in BEYOND_PYTORCH.get(name, ()):
        del ours[extra]
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.torch
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_values_and_texts_are_pytorchs(be, torch, rng, layer, axes):
    stem, args, kwargs = layer
    ours, theirs = (getattr(library, f"{stem}{axes}d")(*args, **kwargs) for library in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    x = rng.standard_normal((2, 3, *(7, 6, 5)[:axes]))
    y = ours(gpunet.tensor(x).to(be.device))
    np.testing.assert_allclose(be.to_numpy(y.array), theirs(torch.tensor(x)).numpy(), rtol=1e-14, atol=1e-14)
    assert layout_of(y.array) == "channels_last"


@pytest.mark.torch
@pytest.mark.parametrize(("name", "args"), [("MaxPool2d", (2, 2)), ("AdaptiveMaxPool2d", ((2, None),))])
def test_indices_come_with_the_values_and_pass_gradients_on(be, torch, rng, name, args):
    x = rng.standard_normal((2, 3, 5, 6))
    theirs = torch.tensor(x, requires_grad=True)
    expected, expected_indices = getattr(torch.nn, name)(*args, return_indices=True)(theirs)
    ours = gpunet.Tensor(be.from_numpy(x), requires_grad=True)
    y, indices = getattr(nn, name)(*args, return_indices=True)(ours)
    assert np.array_equal(be.to_numpy(indices.array), expected_indices.numpy()) and not indices.requires_grad
    gy = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(gy))
    y.backward(gpunet.Tensor(be.from_numpy(gy)))
    assert np.array_equal(be.to_numpy(ours.grad.array), theirs.grad.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_is_pytorchs(be, torch, rng, axes):
    x = rng.standard_normal((2, 3, *(7, 6, 5)[:axes]))
    results = []
    for library, given in ((nn, gpunet.tensor(x).to(be.device)), (torch.nn, torch.tensor(x))):
        pool = getattr(library, f"MaxPool{axes}d")(3, 2, 1, return_indices=True)
        unpool = getattr(library, f"MaxUnpool{axes}d")(3, 2, 1)
        results.append((repr(unpool), unpool(*pool(given), output_size=x.shape)))
    (text, ours), (expected_text, theirs) = results
    assert text == expected_text
    assert np.array_equal(be.to_numpy(ours.array), theirs.numpy()) and layout_of(ours.array) == "channels_last"


def test_unpooling_refuses_impossible_sizes():
    with pytest.raises(
        gpunet.ShapeError, match=r"MaxUnpool2d: kernel_size is out of range(.|\n)*an int or 2 ints, .* got 0"
    ):
        nn.MaxUnpool2d(0)
