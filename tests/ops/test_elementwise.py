"""How threads share elementwise work: no piece is missed, and none changes a bit."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import backend, ops
from gpunet.ops import elementwise

NUMPY = backend.get(backend.Device("cpu"))


@pytest.fixture(params=[3, 7, 1000])
def small_pieces(request, monkeypatch):
    monkeypatch.setattr(elementwise, "_MOST", request.param)


@pytest.mark.parametrize("elements", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 13, 64])
def test_pieces_cover_everything_once_and_are_small(monkeypatch, count, elements):
    monkeypatch.setattr(elementwise, "_MOST", 6)
    parts = elementwise.pieces(count, elements)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert all((part.stop - part.start) * elements < 6 + elements for part in parts)
    assert len(parts) > 1 or count * elements <= 6


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("op", [ops.add, ops.sub, ops.mul, ops.div], ids=lambda op: op.name)
@pytest.mark.parametrize("kind", ["arrays", "layouts", "number-x", "number-y", "broadcast"])
def test_arithmetic_in_pieces_has_the_bits_of_the_reference(rng, op, kind):
    x, y = (rng.standard_normal((2, 3, 3, 5)).astype(np.float32) for _ in range(2))
    x, y = {
        "arrays": (x, y),
        "layouts": (x, y.transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)),
        "number-x": (2.5, y),
        "number-y": (x, -1.5),
        "broadcast": (x, y[:, :1]),
    }[kind]
    arrays, attrs = op.bind(x, y)
    expected = np.empty_like(np.asarray(y if kind == "number-x" else x))
    op.reference(NUMPY, expected, *arrays, **attrs)
    assert op(x, y).tobytes() == expected.tobytes()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_in_pieces_has_the_bits_of_the_reference(rng, dtype):
    special = [-0.0, 0.0, np.nan, -np.nan, np.inf, -np.inf]
    x, gy = (np.concatenate([rng.standard_normal(20), special, rng.permutation(special)]).astype(dtype) for _ in "xg")
    y, gx = np.empty_like(x), np.empty_like(x)
    ops.relu.reference(NUMPY, y, x)
    ops.relu.grad_reference(NUMPY, gx, gy, y)
    assert ops.relu(x).tobytes() == y.tobytes()
    assert ops.relu.grad(gy, y).tobytes() == gx.tobytes()
