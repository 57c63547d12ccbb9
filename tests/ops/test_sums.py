"""Sums and means: what Cases do not say."""

from __future__ import annotations

import numpy as np

from gpunet import ops


def test_nothing_sums_to_zero_and_has_no_mean(be):
    empty = be.from_numpy(np.zeros((2, 0), np.float32))
    assert be.to_numpy(ops.sum(empty, 1)).tolist() == [0, 0]
    assert np.isnan(be.to_numpy(ops.mean(empty, 1))).all() and np.isnan(be.to_numpy(ops.mean(empty)))
    assert be.to_numpy(ops.mean(empty, 0)).shape == (0,)


def test_a_16_bit_mean_does_not_overflow_on_the_way(be):
    x = be.from_numpy(np.full(1000, 1000, np.float16))
    assert be.to_numpy(ops.mean(x)) == 1000 and np.isinf(be.to_numpy(ops.sum(x)))


def test_a_million_rows_are_summed_as_precisely_as_a_few(be):
    """Added one by one in float32, they are wrong by a percent."""
    rows = be.from_numpy(np.full((10**6, 2), 0.1, np.float32))
    pixels = be.from_numpy(np.full((10, 1, 320, 320), 0.1, np.float32))
    one = be.from_numpy(np.ones((1, 1, 1, 1), np.float32))
    for got, expected in (
        (ops.sum(rows, 0), 1e5),
        (ops.mean(rows, 0), 0.1),
        (ops.sum_to_size(rows, (2,)), 1e5),
        (ops.linear.grad(rows, rows[:, :1], be.from_numpy(np.ones((2, 1), np.float32)), needs=["b"]), 1e5),
        (ops.conv_transpose2d.grad(pixels, pixels, one, needs=["b"]), 102400),
    ):
        np.testing.assert_allclose(be.to_numpy(got), expected, rtol=2e-5)
