"""Convolution layers: PyTorch's signatures, texts, state and values; bounds of the initial weights; output sizes."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.backend import layout_of

NAMES = [f"{stem}{axes}d" for stem in ("Conv", "ConvTranspose") for axes in (1, 2, 3)]
SETTINGS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1, "groups": 2, "bias": False},
    {"kernel_size": 2, "dilation": 2, "padding": 1},
]


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_pytorchs(torch, name):
    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in (nn, torch.nn))
    assert list(ours) == list(theirs)
    for p in ours.values():
        assert p.name in ("device", "dtype") or p.default == theirs[p.name].default


@pytest.mark.torch
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_state_values_and_texts_are_pytorchs(be, torch, rng, name, settings):
    ours, theirs = (getattr(library, name)(4, 6, **settings) for library in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = rng.standard_normal((2, 4, *(7, 6, 5)[: int(name[-2])])).astype(np.float32)
    y = ours.to(be.device)(gpunet.tensor(x).to(be.device)).detach()
    np.testing.assert_allclose(be.to_numpy(y.array), theirs(torch.tensor(x)).detach().numpy(), atol=2e-6)
    assert layout_of(y.array) == "channels_last"


@pytest.mark.parametrize(("name", "inputs"), [("Conv1d", 6 * 25), ("ConvTranspose1d", 10 * 25)])
def test_weights_start_within_the_bounds_of_their_second_axis(name, inputs):
    layer = getattr(nn, name)(12, 20, 25, groups=2)
    bound = 1 / math.sqrt(inputs)
    for parameter in layer.parameters():
        assert 0.9 * bound < abs(parameter.detach().numpy()).max() <= bound
    assert layout_of(layer.weight.array) == "channels_last"


@pytest.mark.torch
def test_an_output_size_chooses_the_output_padding(be, torch, rng):
    settings = {"kernel_size": 3, "stride": (2, 3), "padding": (0, 1), "dilation": (1, 2)}
    ours, theirs = (library.ConvTranspose2d(2, 3, **settings) for library in (nn, torch.nn))
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = rng.standard_normal((1, 2, 4, 5)).astype(np.float32)
    ours.to(be.device)
    for size in ((10, 15), (10, 17), (9, 16), (1, 3, 10, 17)):
        y = ours(gpunet.tensor(x).to(be.device), output_size=size).detach()
        expected = theirs(torch.tensor(x), output_size=size).detach().numpy()
        np.testing.assert_allclose(be.to_numpy(y.array), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 15), (11, 15), (10, 18), (10,), (3, 10, 15), 10])
def test_an_output_size_that_no_stride_leads_to_is_refused(size):
    layer = nn.ConvTranspose2d(2, 3, 3, stride=(2, 3), padding=(0, 1), dilation=(1, 2))
    x = gpunet.tensor(np.zeros((1, 2, 4, 5), np.float32))
    with pytest.raises(gpunet.ShapeError, match=r"output_size is out of range(.|\n)*from \(9, 15\) to \(10, 17\), got"):
        layer(x, output_size=size)


MISTAKES = [
    (lambda: nn.Conv1d(3, 4, 0), gpunet.ShapeError, r"Conv1d: kernel_size is out of range(.|\n)*>= 1, got 0"),
    (lambda: nn.Conv2d(3, 4, (3, 3, 3)), gpunet.ShapeError, r"an int or 2 ints, each >= 1, got \(3, 3, 3\)"),
    (lambda: nn.Conv2d(3, 4, 3, padding="same"), gpunet.ShapeError, r"padding is out of range(.|\n)*>= 0, got 'same'"),
    (lambda: nn.Conv3d(3, 4, 3, padding_mode="circular"), ValueError, "'circular' is not in gpunet, which pads with z"),
    (lambda: nn.ConvTranspose2d(4, 3, 3, groups=2), gpunet.ShapeError, "ConvTranspose2d: groups must divide both"),
    (
        lambda: nn.ConvTranspose1d(1, 1, 2, output_padding=-1),
        gpunet.ShapeError,
        r"output_padding is out of range(.|\n)*got -1",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_gets_one_clear_error(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
