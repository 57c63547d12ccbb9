"""Dropout: PyTorch's rules, one mask for forward and backward, the seed as the only source."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.backend.random import DROPOUT, Draw, Generator, default_generator
from gpunet.nn import functional as F
from tests.cases.random import mask

LAYERS = {nn.Dropout: (5, 7), nn.Dropout1d: (5, 7, 3), nn.Dropout2d: (5, 7, 3, 2), nn.Dropout3d: (5, 7, 3, 2, 2)}


def tensor(be, shape, dtype=np.float32, requires_grad=False):
    return gpunet.Tensor(be.from_numpy(np.ones(shape, dtype)), requires_grad)


@pytest.mark.parametrize("layer", LAYERS)
def test_backward_uses_the_mask_of_forward(be, layer):
    x = tensor(be, LAYERS[layer], requires_grad=True)
    y = layer(0.5)(x)
    y.backward(tensor(be, x.shape))
    values = be.to_numpy(y.array)
    assert set(np.unique(values)) == {0.0, 2.0}
    assert np.array_equal(be.to_numpy(x.grad.array), values)
    spatial = values.reshape(5, 7, -1)
    assert layer is nn.Dropout or (spatial == spatial[:, :, :1]).all(), "a channel is dropped as a whole"


@pytest.mark.parametrize("layer", LAYERS)
def test_evaluation_and_p_0_return_the_input_and_draw_nothing(be, layer):
    x = tensor(be, LAYERS[layer], requires_grad=True)
    before = default_generator.get_state()
    assert layer(0.5).eval()(x) is x and layer(0.0)(x) is x
    assert ops.dropout(x.array, 0.5, False) is x.array
    assert default_generator.get_state() == before


@pytest.mark.torch
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_range_are_pytorchs(be, torch, p):
    host = np.array([1.0, -2.0, np.inf, np.nan], np.float32)
    theirs = torch.tensor(host, requires_grad=True)
    ours = gpunet.Tensor(be.from_numpy(host), requires_grad=True)
    with np.errstate(invalid="ignore"):  # what is dropped is multiplied with 0: inf becomes NaN, as in PyTorch
        compare_ends(be, torch, p, theirs, ours)


def compare_ends(be, torch, p, theirs, ours):
    for function, x in ((torch.nn.functional.dropout, theirs), (F.dropout, ours)):
        y = function(function(x, p), 0.0)
        y.backward(torch.ones(4) if x is theirs else tensor(be, (4,)))
    expected = torch.nn.functional.dropout(theirs, p).detach().numpy()
    np.testing.assert_array_equal(be.to_numpy(F.dropout(ours, p).array), expected)
    np.testing.assert_array_equal(be.to_numpy(ours.grad.array), theirs.grad.numpy())


def test_the_stand_alone_gradient_takes_the_name_of_the_draw(be):
    x = be.from_numpy(np.ones((3, 50), np.float32))
    draw = Generator(3).draw(DROPOUT)
    y = ops.dropout(x, 0.3, generator=draw)
    assert draw == Draw(3, DROPOUT, 0)
    assert np.array_equal(be.to_numpy(ops.dropout.grad(x, p=0.3, generator=draw)), be.to_numpy(y))
    assert np.array_equal(be.to_numpy(ops.dropout.grad(x, p=0.3, training=False)), be.to_numpy(x))
    with pytest.raises(
        ValueError, match=r"dropout\.grad: the draw of the forward call is not named(.|\n)*generator=draw"
    ):
        ops.dropout.grad(x, p=0.3)


def test_large_arrays_have_no_seams(be):
    x = np.ones(70_001, np.float32)
    draw = Draw(1, DROPOUT, 0)
    y = be.to_numpy(ops.dropout(be.from_numpy(x), 0.5, generator=draw))
    assert np.array_equal(y != 0, mask(x.shape, 0.5, draw))


def test_the_seed_gives_the_masks_and_every_call_another():
    layer, x = nn.Dropout(), gpunet.tensor(np.ones(64, np.float32))
    gpunet.manual_seed(9)
    first, second = layer(x).numpy().copy(), layer(x).numpy().copy()
    gpunet.manual_seed(9)
    assert np.array_equal(layer(x).numpy(), first) and not np.array_equal(first, second)
    assert np.array_equal(F.dropout(x, generator=Generator(9)).numpy(), first)


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_must_be_a_probability(p):
    before = default_generator.get_state()
    for name, make in (("dropout", lambda: F.dropout(gpunet.tensor([1.0]), p)), ("Dropout2d", lambda: nn.Dropout2d(p))):
        with pytest.raises(
            ValueError, match=rf"{name}: p is not a probability\.\n  expected a number from 0 to 1, got"
        ):
            make()
    assert default_generator.get_state() == before


def test_in_place_is_refused():
    for call in (lambda: nn.Dropout(0.5, True), lambda: F.dropout(gpunet.tensor([1.0]), 0.5, True, True)):
        with pytest.raises(NotImplementedError, match=r"(Dropout|dropout): inplace=True is not in gpunet"):
            call()


def test_channels_need_their_spatial_axes():
    with pytest.raises(
        gpunet.ShapeError, match=r"dropout2d: x has the wrong number of axes(.|\n)*4 axes, got 3(.|\n)*x\[None\]"
    ):
        F.dropout2d(gpunet.tensor(np.ones((2, 3, 4), np.float32)))


def test_layers_have_no_state_and_print_as_in_pytorch():
    model = nn.Sequential(nn.Dropout(0.25), nn.Dropout2d())
    assert list(model.state_dict()) == []
    assert (
        repr(model) == "Sequential(\n  (0): Dropout(p=0.25, inplace=False)\n  (1): Dropout2d(p=0.5, inplace=False)\n)"
    )
