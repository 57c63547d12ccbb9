"""Sweeps of embeddings."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size


@st.composite
def tables(draw: Draw) -> Case:
    """Draw tables round the size of what a block makes, and indices round what it looks at, or none."""
    rows, width = draw(st.one_of(size(5), size(34, 15))), draw(st.one_of(size(9, 0), size(36), size(260, 250)))
    places = draw(st.one_of(shapes(0, 1), shapes(2, 5), st.tuples(size(513, 254)), st.just((1100,))))
    padding = draw(st.one_of(st.none(), size(rows - 1, -rows)))
    few = draw(size(rows))

    def drawn(rng: np.random.Generator) -> object:
        return np.asarray(rng.integers(0, few, places))

    attrs = {"padding_idx": padding}
    return Case(ops.embedding, {"weight": (rows, width), "indices": None}, {}, attrs=attrs, integers={"indices": drawn})


SWEEPS = [Sweep(ops.embedding, tables())]
