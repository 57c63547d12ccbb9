"""Sweeps of dropout."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from gpunet.backend.random import DROPOUT, Draw
from gpunet.ops.base import Op
from tests.cases.random import DRAW
from tests.harness.case import Case
from tests.harness.sweep import Sweep, shapes
from tests.sweeps.elementwise import any_shape

draws = st.sampled_from([Draw(0, DROPOUT, 0), DRAW, Draw(2**64 - 1, DROPOUT, 2**64 - 1)])
probabilities = st.one_of(st.sampled_from([0.25, 0.5, 1.0]), st.floats(0.001, 0.95))


def dropouts(op: Op, shape: st.SearchStrategy[tuple[int, ...]]) -> Sweep:
    """Sweep an op over probabilities and draws; p = 0 computes nothing, and is tested elsewhere."""
    return Sweep(
        op,
        st.builds(
            lambda x, p, draw: Case(op, {"x": x}, {}, {}, {"p": p, "generator": draw}), shape, probabilities, draws
        ),
    )


SWEEPS = [
    dropouts(ops.dropout, any_shape()),
    *(dropouts(op, shapes(axes, 4)) for axes, op in enumerate((ops.dropout1d, ops.dropout2d, ops.dropout3d), start=3)),
]
