"""Max pooling: PyTorch's rules for ties, NaN and infinities; indices."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops


def on(be, array):
    return be.from_numpy(np.asarray(array, np.float32))


@pytest.mark.torch
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_ties_nan_and_infinities_follow_pytorch(be, torch, dimensions, padding, rng):
    choices = np.array([-np.inf, -1.0, 0.0, 0.0, 2.0, np.nan, np.inf], np.float32)
    x = rng.choice(choices, size=(3, 2, *(6, 7, 5)[:dimensions]), p=[0.3, 0.15, 0.15, 0.15, 0.15, 0.05, 0.05])
    pool = getattr(torch.nn.functional, f"max_pool{dimensions}d")
    expected, indices = pool(torch.tensor(x), 2, 2, padding, return_indices=True)
    y, ours = getattr(ops, f"max_pool{dimensions}d")(on(be, x), 2, 2, padding, return_indices=True)
    assert np.array_equal(be.to_numpy(y), expected.numpy(), equal_nan=True)
    assert be.to_numpy(ours).dtype == np.int64 and np.array_equal(be.to_numpy(ours), indices.numpy())


def test_an_infinite_gradient_reaches_the_winner_only(be):
    x = on(be, [[[[1, 2], [3, 4]]]])
    _, winner = ops.max_pool2d.forward(x, 2)
    gx = ops.max_pool2d.grad(on(be, [[[[np.inf]]]]), winner, kernel_size=2, input_size=(1, 1, 2, 2))
    assert be.to_numpy(gx).tolist() == [[[[0, 0], [0, np.inf]]]]


def test_winners_take_one_byte_up_to_256_positions(be):
    x = on(be, np.zeros((1, 1, 17, 17)))
    assert ops.max_pool2d.forward(x, 16)[1].dtype == np.uint8
    assert ops.max_pool2d.forward(x, 17)[1].dtype == np.int32


def test_uncovered_borders_have_no_gradient(be):
    _, winner = ops.max_pool2d.forward(on(be, np.arange(25).reshape(1, 1, 5, 5)), 2)
    gx = ops.max_pool2d.grad(on(be, np.ones((1, 1, 2, 2))), winner, kernel_size=2, input_size=(1, 1, 5, 5))
    assert be.to_numpy(gx).sum() == 4 and be.to_numpy(gx)[..., 4].sum() == 0


def test_positional_arguments_are_pytorchs():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    y, indices = ops.max_pool2d(x, 2, 2, 0, 1, False, True)
    assert indices[0, 0].tolist() == [[5, 7], [13, 15]] and y[0, 0].tolist() == [[5, 7], [13, 15]]
