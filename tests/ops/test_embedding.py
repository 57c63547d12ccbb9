"""The gradient of an embedding is summed in the order of the indices on the CPU too."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops


@pytest.mark.parametrize("width", [1, 3, 64])
def test_gradients_are_summed_in_the_order_of_the_indices(rng, width):
    indices = rng.integers(0, 3, 1000)
    gy = rng.standard_normal((1000, width)) * 10.0 ** rng.integers(-3, 4, (1000, 1))
    expected = np.zeros((4, width))
    for n, row in enumerate(indices):
        expected[row] += gy[n]
    assert np.array_equal(ops.embedding.grad(gy, indices, input_size=(4, width)), expected)
