"""Sums over axes: what Cases are too small to say."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops import reduce


@pytest.mark.only_backends("emulated", "cupy")
def test_more_summands_than_a_grid_has_blocks_are_summed_in_longer_splits(be, monkeypatch):
    monkeypatch.setattr(reduce, "_MOST_SPLITS", 3)
    x = np.arange(7 * 1024 + 5, dtype=np.float32) % 17
    before = be.launched["sum_axes"]
    assert be.to_numpy(ops.sum(be.from_numpy(x))) == x.sum()
    assert be.launched["sum_axes"] - before == 2  # the splits, and their sum


@pytest.mark.only_backends("emulated", "cupy")
def test_no_sum_is_too_long_for_a_grid(be, monkeypatch):
    """Of one element, as often as an index of 32 bits can count; nothing is launched, only looked at."""
    y, x, grids = be.zeros((1,), np.float32), be.zeros((1,), np.float32), []
    monkeypatch.setattr(be, "launch", lambda file, name, grid, *rest, **macros: grids.append(grid))
    reduce.sum_axes(be, y, x, [(1, 1)], [(2**32 - 1, 0)])
    assert [splits for _, splits in grids] == [65535, 64, 1]
