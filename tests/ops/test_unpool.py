"""Max unpooling: the way back from max pooling, the order of repeated indices, indices out of range."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import ops

AXES = [1, 2, 3]


def named(stem, axes):
    return getattr(ops, f"{stem}{axes}d")


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("axes", AXES)
def test_maxima_come_back_to_their_places(be, axes, window, rng):
    """What comes back is the input at the winners and zero elsewhere, so pooling it again changes nothing."""
    size = (8, 7, 9)[:axes]
    x = rng.permutation(2 * 3 * int(np.prod(size))).reshape(2, 3, *size) + 1.0
    y, indices = named("max_pool", axes)(be.from_numpy(x), *window, return_indices=True)
    back = named("max_unpool", axes)(y, indices, *window, output_size=size)
    host = be.to_numpy(back)
    assert np.array_equal(host[host != 0], x[host != 0])
    flat = np.unique(be.to_numpy(indices).reshape(6, -1) + np.arange(6)[:, None] * int(np.prod(size)))
    assert np.array_equal(np.flatnonzero(host), flat)
    assert np.array_equal(be.to_numpy(named("max_pool", axes)(back, *window)), be.to_numpy(y))


@pytest.mark.torch
@pytest.mark.parametrize("axes", AXES)
def test_the_last_of_repeated_indices_stays_as_in_pytorch(be, torch, axes, rng):
    shape = (2, 9, 40, 2, 2)[: axes + 2]  # more pixels than a block places at a time
    x = rng.standard_normal(shape)
    indices = rng.integers(0, 6, shape)
    expected = getattr(torch.nn.functional, f"max_unpool{axes}d")(torch.tensor(x), torch.tensor(indices), 2)
    y = named("max_unpool", axes)(be.from_numpy(x), be.from_numpy(indices), 2)
    assert np.array_equal(be.to_numpy(y), expected.numpy())


def test_every_repeated_index_gets_the_gradient(be):
    indices = be.from_numpy(np.array([[[2, 0, 2]]]))
    gx = ops.max_unpool1d.grad(be.from_numpy(np.array([[[1.0, 2, 3, 4, 5, 6]]])), indices, kernel_size=2)
    assert be.to_numpy(gx).tolist() == [[[3, 1, 3]]]


def test_zeros_and_nan_of_either_sign_are_placed_bit_for_bit(be):
    x = np.array([[[-0.0, np.nan, 0.0]]], np.float32)
    y = ops.max_unpool1d(be.from_numpy(x), be.from_numpy(np.array([[[4, 1, 5]]])), 2)
    assert be.to_numpy(y)[0, 0, [4, 1, 5]].tobytes() == x.tobytes()


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("wrong", [-1, 6])
def test_an_index_out_of_range_is_raised_by_the_next_read(be, wrong):
    indices = be.from_numpy(np.array([[[0, wrong, 5]]]))
    y = ops.max_unpool1d(be.from_numpy(np.ones((1, 1, 3))), indices, 2)
    with pytest.raises(IndexError, match=r"max_unpool1d: an index is out of range\.\n  expected 0 <= index < 6 pixels"):
        be.to_numpy(y)
    assert be.to_numpy(y).tolist() == [[[1, 0, 0, 0, 0, 1]]], "the others are placed, and nothing outside is written"
    gx = ops.max_unpool1d.grad(be.from_numpy(np.ones((1, 1, 6))), indices, kernel_size=2)
    with pytest.raises(IndexError, match="max_unpool1d: an index is out of range"):
        be.to_numpy(gx)
    assert be.to_numpy(gx).tolist() == [[[1, 0, 1]]]


def test_gradients_pass_pooling_and_unpooling(be, rng):
    x = gpunet.Tensor(be.from_numpy(rng.standard_normal((1, 2, 6, 6))), requires_grad=True)
    y, indices = gpunet.nn.functional.max_pool2d(x, 2, return_indices=True)
    back = gpunet.nn.functional.max_unpool2d(y, indices, 2)
    gy = rng.standard_normal((1, 2, 6, 6))
    back.backward(gpunet.Tensor(be.from_numpy(gy)))
    winners = be.to_numpy(back.array) != 0
    assert np.array_equal(be.to_numpy(x.grad.array), np.where(winners, gy, 0))
