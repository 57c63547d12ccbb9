"""Sweeps of matrix products."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size


@st.composite
def products(draw: Draw) -> Case:
    """Draw vectors, matrices and batches that broadcast, of sizes round those of a tile, and none."""
    m, n, k = (draw(st.one_of(size(5, 0), size(66, 60) if axis else size(18))) for axis in range(3))
    if whole := draw(st.booleans()):  # chunks for tensor cores
        m, n, k = (4 * draw(size(5)) for _ in range(3))
    batch = draw(st.lists(size(2, 0), max_size=2))
    sides = []
    for last in ((m, k), (k, n)):
        own = tuple(n if draw(st.booleans()) else 1 for n in batch)
        sides.append((*own[draw(size(len(own), 0)) :], *last))
    if draw(st.integers(0, 3)) == 0:
        sides[0] = (k,)
    if draw(st.integers(0, 3)) == 0:
        sides[1] = (k,)
    shapes_of = {"a": sides[0], "b": sides[1]}
    return Case(ops.matmul, shapes_of, {}, attrs={"allow_tf32": whole and draw(st.booleans())})


SWEEPS = [Sweep(ops.matmul, products())]
