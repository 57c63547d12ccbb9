"""What sweeps of elementwise ops share."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Sweep, shapes


def any_shape(most_axes: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    return st.integers(0, most_axes).flatmap(lambda axes: shapes(axes, 4))


def unary(op: ops.base.Op, **attrs: st.SearchStrategy[object]) -> Sweep:
    """Sweep an op of one input of any shape, its attributes drawn."""
    drawn = st.fixed_dictionaries(attrs)
    return Sweep(op, st.builds(lambda shape, attrs: Case(op, {"x": shape}, {}, {}, attrs), any_shape(), drawn))


SWEEPS: list[Sweep] = []  # they stand with the families that use these
