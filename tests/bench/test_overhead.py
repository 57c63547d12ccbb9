"""Both contestants of bench/overhead.py do the same work."""

from __future__ import annotations

import numpy as np
import pytest

from bench import overhead, timing


@pytest.mark.parametrize("kinds", [*((kind,) for kind in overhead._SHAPES), overhead._MIXED])
def test_bare_numpy_computes_the_gradients_of_the_chain(kinds):
    ours, bare = (chain() for chain in overhead.chains(kinds))
    assert (
        len(ours) == len(bare) == 1 + sum(len(overhead._SHAPES[kinds[i % len(kinds)]]) for i in range(overhead.CALLS))
    )
    for gradient, expected in zip(ours, bare, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-30)


def test_a_chain_is_measured_per_call():
    chain = timing.Result("chain", "s", 50.0, 40.0, 60.0, 30.0, 7)
    call = timing.Result("call", "s", 5.0, 4.0, 6.0, 3.0, 7)
    assert overhead.per_call(chain, "call") == call
