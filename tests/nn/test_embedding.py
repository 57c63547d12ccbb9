"""Embedding layers: PyTorch's start, names and errors; training moves the rows that were looked up."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.nn import functional as F


def test_the_weight_starts_normal_with_a_padding_row_of_zeros():
    for padding in (3, -497):
        layer = nn.Embedding(500, 40, padding_idx=padding)
        values = layer.weight.array
        assert layer.padding_idx == 3 and not values[3].any()
        others = np.delete(values, 3, axis=0)
        assert others.dtype == np.float32 and others.all() and abs(others.mean()) < 0.03
        assert abs(others.std() - 1) < 0.03 and abs((others < -1).mean() - 0.1587) < 0.01
        assert abs((others[:, ::2] * others[:, 1::2]).mean()) < 0.03
    assert np.array_equal(layer.state_dict()["weight"], values) and layer.state_dict().keys() == {"weight"}


@pytest.mark.torch
@pytest.mark.parametrize("kwargs", [{}, {"padding_idx": 2}, {"padding_idx": -1, "scale_grad_by_freq": False}], ids=str)
def test_layer_is_pytorchs(be, torch, kwargs):
    theirs, ours = torch.nn.Embedding(5, 3, **kwargs), nn.Embedding(5, 3, **kwargs).to(be.device)
    assert repr(ours) == repr(theirs) and ours.padding_idx == theirs.padding_idx
    ours.load_state_dict({"weight": gpunet.Tensor(theirs.weight.detach().numpy())})
    indices = np.array([[4, 2, 2], [0, 4, 4]])
    expected = theirs(torch.tensor(indices))
    y = ours(gpunet.Tensor(be.from_numpy(indices)))
    assert np.array_equal(be.to_numpy(y.array), expected.detach().numpy())
    expected.sum().backward()
    y.sum().backward()
    assert np.array_equal(be.to_numpy(ours.weight.grad.array), theirs.weight.grad.numpy())


def test_a_step_moves_the_rows_that_were_looked_up(be):
    layer = nn.Embedding(4, 3, padding_idx=0).to(be.device)
    before = be.to_numpy(layer.weight.array).copy()
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer(gpunet.Tensor(be.from_numpy(np.array([0, 2, 2])))).sum().backward()
    optimizer.step()
    assert np.array_equal(be.to_numpy(layer.weight.array), before - np.float32([[0], [0], [1], [0]]))


@pytest.mark.only_backends("emulated", "cupy")
def test_a_wrong_index_stops_the_step_on_a_gpu(be):
    layer = nn.Embedding(4, 3).to(be.device)
    before = be.to_numpy(layer.weight.array).copy()
    optimizer = optim.SGD(layer.parameters(), lr=0.5)
    layer(gpunet.Tensor(be.from_numpy(np.array([1, 4])))).sum().backward()
    optimizer.step()
    with pytest.raises(IndexError, match=r"embedding: an index is out of range\.\n  expected 0 <= index < V = 4"):
        be.to_numpy(layer.weight.array)
    assert np.array_equal(be.to_numpy(layer.weight.array), before)


def test_what_is_missing_says_so():
    index, weight = gpunet.tensor([0]), gpunet.tensor([[1.0]])
    for name, value in (("max_norm", 1.0), ("scale_grad_by_freq", True), ("sparse", True)):
        with pytest.raises(NotImplementedError, match=f"Embedding: {name if name != 'sparse' else 'sparse gradients'}"):
            nn.Embedding(2, 3, **{name: value})
        with pytest.raises(NotImplementedError, match=r"embedding: .* not in gpunet"):
            F.embedding(index, weight, **{name: value})


def test_impossible_layers_are_refused():
    with pytest.raises(gpunet.ShapeError, match="Embedding: sizes must be >= 0, got 2 and -1"):
        nn.Embedding(2, -1)
    with pytest.raises(ValueError, match="Embedding: there is no row padding_idx"):
        nn.Embedding(2, 3, padding_idx=2)
