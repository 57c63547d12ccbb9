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
