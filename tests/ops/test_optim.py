"""How the CPU walks the chunk table of an optimizer step: merged where chunks adjoin, and cut anew."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import backend, ops
from gpunet.ops import elementwise

NUMPY = backend.get(backend.Device("cpu"))


@pytest.mark.parametrize("most", [2, 5, 1000])
@pytest.mark.parametrize("steps", [[0, 0, 0, 0], [3, 3, 3, 3], [0, 2, 2, 5], [4, 0, 4, 0]], ids=str)
@pytest.mark.parametrize(
    ("op", "state", "settings"),
    [
        (ops.sgd_step, 1, {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
        (ops.sgd_step, 1, {"momentum": 0.9, "nesterov": True, "maximize": True}),
        (ops.adam_step, 3, {"weight_decay": 0.1}),
    ],
    ids=["sgd", "nesterov", "adam"],
)
def test_chunks_that_adjoin_keep_their_own_counts(rng, monkeypatch, most, steps, op, state, settings):
    monkeypatch.setattr(elementwise, "_MOST", most)
    chunks = np.array([[0, 4, 2], [4, 7, 0], [11, 3, 3], [16, 9, 1]])  # two that nobody updates lie before the last
    values = [rng.random(25) + 0.5 for _ in range(2 + state)]
    results = []
    for way in (op.cpu, op.reference):
        buffers, counts = [value.copy() for value in values], np.array(steps)
        arrays, attrs = op.bind(*buffers, counts, chunks, np.array([0.1]), **settings)
        way(NUMPY, *arrays, **attrs)
        results.append((*buffers, counts))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
