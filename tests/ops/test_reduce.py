"""Sums over axes: what Cases are too small to say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops import reduce


@pytest.mark.only_backends("emulated", "cupy")
def test_splits_are_longer_where_blocks_would_be_too_many(be, monkeypatch):
    monkeypatch.setattr(reduce, "_BLOCKS", 3)
    x = np.arange(7 * 4096 + 5, dtype=np.float32) % 17
    before = be.launched["sum_axes"]
    assert be.to_numpy(ops.sum(be.from_numpy(x))) == x.sum(dtype=np.float64)
    assert be.launched["sum_axes"] - before == 2  # the splits, and their sum


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("stride", [0, 1])
def test_no_sum_is_too_long_for_a_grid(be, monkeypatch, stride):
    """Of one element, as often as an index of 32 bits can count; nothing is launched, only looked at."""
    y, x, grids = be.zeros((1,), np.float32), be.zeros((1,), np.float32), []
    monkeypatch.setattr(be, "launch", lambda file, name, grid, *rest, **macros: grids.append(grid))
    reduce.sum_axes(be, y, x, [(1, 1)], [(2**32 - 1, stride)])
    assert grids == [(1, 1024), (1, 1)]


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize(
    ("shape", "dim", "expected"),
    [
        ((1 << 20,), 0, ((1, 256), (1, 256, 1))),  # a sum to one number: 256 blocks of 256 threads
        ((4096, 1024), 1, ((1024, 1), (1, 64, 1))),  # rows: 64 neighbouring threads to each, in one launch
        ((4096, 10), 1, ((16, 1), (1, 1, 1))),
        ((1 << 18, 64), 0, ((2, 256), (32, 8, 0))),  # columns: neighbouring threads to neighbouring outputs
        ((1 << 18, 3), 0, ((1, 256), (4, 64, 0))),
    ],
    ids=str,
)
def test_threads_are_shared_out_by_shape(be, monkeypatch, shape, dim, expected):
    launched, x = [], be.zeros((1,), np.float32)
    monkeypatch.setattr(
        be, "launch", lambda file, name, grid, block, args, **macros: launched.append((grid, args[-4:-1]))
    )
    kept, summed = (
        [(n, math.prod(shape[axis + 1 :])) for axis, n in enumerate(shape) if (axis == dim) == chosen]
        for chosen in (False, True)
    )
    y = be.empty([n for n, _ in kept], np.float32)
    reduce.sum_axes(be, y, x, kept, summed)
    assert launched[0] == expected
