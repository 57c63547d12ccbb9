"""Sweeps of elementwise ops."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes


def any_shape(most_axes: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    return st.integers(0, most_axes).flatmap(lambda axes: shapes(axes, 4))


def unary(op: ops.base.Op, **attrs: st.SearchStrategy[object]) -> Sweep:
    """Sweep an op of one input of any shape, its attributes drawn."""
    drawn = st.fixed_dictionaries(attrs)
    return Sweep(op, st.builds(lambda shape, attrs: Case(op, {"x": shape}, {}, {}, attrs), any_shape(), drawn))


@st.composite
def broadcasting(draw: Draw, op: ops.base.Op) -> Case:
    """Draw two shapes that broadcast."""
    full = draw(any_shape())
    pair = []
    for _ in range(2):
        ones = draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
        skipped = draw(st.integers(0, len(full)))
        pair.append(tuple(1 if one else n for n, one in zip(full, ones, strict=True))[skipped:])
    return Case(op, dict(zip(op.inputs, pair, strict=True)), {})


SWEEPS = [Sweep(ops.add, broadcasting(ops.add))]
