"""Pooling: PyTorch's rules for ties, NaN, infinities, sizes and divisors; indices; global pooling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpunet import ops
from gpunet.errors import ShapeError

WINDOWS = (2, 2, 0), (2, 2, 1), (3, 1, 1), (1, 2, 0), (5, 1, 2)  # kernel_size, stride, padding


def on(be, array):
    return be.from_numpy(np.asarray(array, np.float32))


@pytest.fixture
def special(rng):
    """Return images of few different values, NaN and infinities among them."""

    def images(*shape):
        choices = np.array([-np.inf, -1.0, 0.0, 0.0, 2.0, np.nan, np.inf], np.float32)
        return rng.choice(choices, size=shape, p=[0.3, 0.15, 0.15, 0.15, 0.15, 0.05, 0.05])

    return images


def assert_like_pytorch(be, torch, name, x, *args):
    expected, indices = getattr(torch.nn.functional, name)(torch.tensor(x), *args, return_indices=True)
    y, ours = getattr(ops, name)(on(be, x), *args, return_indices=True)
    assert np.array_equal(be.to_numpy(y), expected.numpy(), equal_nan=True)
    assert be.to_numpy(ours).dtype == np.int64 and np.array_equal(be.to_numpy(ours), indices.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_ties_nan_and_infinities_follow_pytorch(be, torch, dimensions, window, special):
    assert_like_pytorch(be, torch, f"max_pool{dimensions}d", special(3, 2, *(6, 7, 5)[:dimensions]), *window)


@pytest.mark.torch
@pytest.mark.parametrize("output_size", [1, 2, 4])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_ties_nan_and_infinities_of_adaptive_windows_follow_pytorch(be, torch, dimensions, output_size, special):
    x = special(3, 2, *(6, 7, 5)[:dimensions])
    assert_like_pytorch(be, torch, f"adaptive_max_pool{dimensions}d", x, output_size)


@pytest.mark.torch
def test_threads_that_share_a_window_find_pytorchs_winner(be, torch, special):
    assert_like_pytorch(be, torch, "adaptive_max_pool2d", special(2, 3, 9, 10), 1)  # 8 threads a window
    assert_like_pytorch(be, torch, "max_pool2d", special(2, 3, 9, 10), 8, 1, 4)
    x = special(1, 2, 47, 46)
    x[0, 0, np.isnan(x[0, 0])] = 0
    assert_like_pytorch(be, torch, "adaptive_max_pool2d", x, 1)  # 32


@pytest.mark.torch
@pytest.mark.only_backends("numpy")
def test_sizes_and_divisors_follow_pytorch(be, torch):
    sizes = itertools.product(range(1, 8), range(1, 5), range(1, 5), range(3), (False, True), (False, True))
    compared = 0
    for n, kernel, stride, padding, ceil, include in sizes:
        x = np.arange(1.0, n + 1).reshape(1, 1, n)
        args = kernel, stride, padding, ceil, include
        try:
            expected = torch.nn.functional.avg_pool1d(torch.tensor(x), *args).numpy()
        except RuntimeError:
            with pytest.raises(ShapeError):
                ops.avg_pool1d(x, *args)
            continue
        assert np.allclose(ops.avg_pool1d(x, *args), expected, rtol=1e-15), args
        largest = torch.nn.functional.max_pool1d(torch.tensor(x), *args[:3], ceil_mode=ceil)
        assert np.array_equal(ops.max_pool1d(x, *args[:3], ceil_mode=ceil), largest), args
        compared += 1
    assert compared > 700


@pytest.mark.torch
@pytest.mark.only_backends("numpy")
def test_adaptive_windows_follow_pytorch(be, torch):
    for n, out in itertools.product(range(1, 12), range(1, 14)):
        x = np.cos(np.arange(1.0, n + 1)).reshape(1, 1, n)
        for name in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
            expected = getattr(torch.nn.functional, name)(torch.tensor(x), out).numpy()
            assert np.allclose(getattr(ops, name)(x, out), expected, rtol=1e-15, atol=1e-15), (name, n, out)


def test_an_adaptive_size_may_keep_an_axis(be):
    x = on(be, np.arange(24).reshape(1, 1, 4, 6))
    assert be.to_numpy(ops.adaptive_max_pool2d(x, (1, None)))[0, 0].tolist() == [[18, 19, 20, 21, 22, 23]]
    assert be.to_numpy(ops.adaptive_avg_pool2d(x, None)).tolist() == be.to_numpy(x).tolist()


def test_global_pooling_of_equal_values_is_exact_in_any_layout(be):
    for layout in ("contiguous", "channels_last"):
        for size in (7, 40):
            x = be.empty((2, 3, size, size), np.float16, layout)
            be.fill(x, 3)
            assert (be.to_numpy(ops.adaptive_avg_pool2d(x, 1)) == 3).all(), "the sum may exceed float16, the mean not"


def test_an_infinite_gradient_reaches_the_winner_only(be):
    x = on(be, [[[[1, 2], [3, 4]]]])
    for pool, attrs in ((ops.max_pool2d, {"kernel_size": 2}), (ops.adaptive_max_pool2d, {"output_size": 1})):
        _, winner = pool.forward(x, **attrs)
        gx = pool.grad(on(be, [[[[np.inf]]]]), winner, **attrs, input_size=(1, 1, 2, 2))
        assert be.to_numpy(gx).tolist() == [[[[0, 0], [0, np.inf]]]]


def test_an_element_that_wins_twice_gets_both_gradients(be):
    _, winner = ops.max_pool1d.forward(on(be, [[[0, 9, 0]]]), 2, 1)
    gx = ops.max_pool1d.grad(on(be, [[[1, 10]]]), winner, kernel_size=2, stride=1, input_size=(1, 1, 3))
    assert be.to_numpy(gx).tolist() == [[[0, 11, 0]]]


def test_a_window_without_a_pixel_gives_minus_infinity(be):
    y, winner = ops.max_pool1d.forward(on(be, [[[1, 2]]]), 2, 1, 1, 3)
    assert be.to_numpy(y).tolist() == [[[-np.inf]]] and be.to_numpy(winner).tolist() == [[[0]]]


def test_winners_take_one_byte_up_to_256_positions(be):
    x = on(be, np.zeros((1, 1, 17, 17)))
    assert ops.max_pool2d.forward(x, 16)[1].dtype == np.uint8
    assert ops.max_pool2d.forward(x, 17)[1].dtype == np.int32


def test_uncovered_borders_have_no_gradient(be):
    _, winner = ops.max_pool2d.forward(on(be, np.arange(25).reshape(1, 1, 5, 5)), 2)
    gx = ops.max_pool2d.grad(on(be, np.ones((1, 1, 2, 2))), winner, kernel_size=2, input_size=(1, 1, 5, 5))
    assert be.to_numpy(gx).sum() == 4 and be.to_numpy(gx)[..., 4].sum() == 0
    gx = ops.avg_pool2d.grad(on(be, np.ones((1, 1, 2, 2))), kernel_size=2, input_size=(1, 1, 5, 5))
    assert be.to_numpy(gx).sum() == 4 and be.to_numpy(gx)[..., 4].sum() == 0


def test_positional_arguments_are_pytorchs():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    y, indices = ops.max_pool2d(x, 2, 2, 0, 1, False, True)
    assert indices[0, 0].tolist() == [[5, 7], [13, 15]] and y[0, 0].tolist() == [[5, 7], [13, 15]]
    sums = [[10, 24, 10], [51, 90, 33], [25, 42, 15]]
    assert ops.avg_pool2d(x, 3, 2, 1, True, False, 1)[0, 0].tolist() == sums


def test_winners_in_the_padding_give_nothing_to_the_pixels(be):
    """No forward call makes them; the two sizes take both paths of the CPU."""
    for attrs, expected in (
        ({"kernel_size": 2, "padding": 1}, [0, 1, 0]),
        ({"kernel_size": 4, "padding": 2, "stride": 2}, [1, 0, 0]),
    ):
        winner = be.from_numpy(np.zeros((1, 2, 2), np.uint8))
        gx = ops.max_pool1d.grad(on(be, np.ones((1, 2, 2))), winner, **attrs, input_size=(1, 2, 3))
        assert be.to_numpy(gx).tolist() == [[expected, expected]]
