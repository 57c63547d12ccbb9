"""Products in tiles against the plain kernels: multiply-adds along the depth in one order give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops.choices import Choice, force
from gpunet.ops.tiles import FMA_TILES, MMA_TILES

pytestmark = pytest.mark.only_backends("emulated", "cupy")


def results(be, choice):
    """Return all products of a linear layer and of two convolutions, made by one choice where it fits."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return be.from_numpy(rng.standard_normal(shape).astype(np.float32))

    found = []
    with force(choice):
        x, w = normal(70, 40), normal(68, 40)
        y = ops.linear(x, w)
        found += [y, *ops.linear.grad(y, x, w, needs=("x", "w"))]
        for stride in (1, 2):
            x, w = normal(2, 20, 9, 8), normal(36, 20, 3, 3)
            y = ops.conv2d(x, w, stride=stride, padding=1)
            found += [y, *ops.conv2d.grad(y, x, w, needs=("x", "w"), stride=stride, padding=1)]
    return list(map(be.to_numpy, found))


@pytest.mark.parametrize("tile", FMA_TILES, ids=str)
def test_multiply_adds_give_the_bits_of_the_plain_kernels(be, tile):
    expected, actual = results(be, Choice("plain")), results(be, Choice("fma", tile, splits=1))
    for number, (want, got) in enumerate(zip(expected, actual, strict=True)):
        assert np.array_equal(got, want), number


def test_two_runs_give_the_same_bits(be):
    for choice in (Choice("tensor", MMA_TILES[2], splits=2), Choice("fma", FMA_TILES[0], splits=2)):
        first, second = results(be, choice), results(be, choice)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_misaligned_operands_are_copied_not_refused(be):
    x, w = np.ones((3, 8), np.float32), np.arange(41, dtype=np.float32)
    before = be.launched["copy_strided"]
    y = ops.linear(be.from_numpy(x), be.from_numpy(w)[1:].reshape(5, 8))
    assert np.array_equal(be.to_numpy(y), x @ w[1:].reshape(5, 8).T)
    assert be.launched["copy_strided"] == before + 1
