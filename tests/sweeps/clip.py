"""Sweeps of the norm of gradients and of clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from tests.cases.clip import by_norm_case, by_value_case, partials_case, total_case
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size
from tests.sweeps.optim import tables

ORDERS = st.sampled_from([1.0, 2.0, 2.5, float("inf")])


@st.composite
def buffers(draw: Draw) -> tuple[int, dict[str, Any], int]:
    """Draw a size, a table or none, and the number of chunks."""
    length = draw(size(1500, 0))
    if draw(st.booleans()):
        return length, {}, min(length, 1)
    chunks = draw(tables(length))["chunks"]
    return length, {"chunks": chunks}, len(chunks(np.random.default_rng(0)))


@st.composite
def partials(draw: Draw) -> Case:
    length, table, count = draw(buffers())
    return partials_case("", length, count, draw(ORDERS), table)


@st.composite
def by_norm(draw: Draw) -> Case:
    length, table, _ = draw(buffers())
    return by_norm_case("", length, table, draw(st.sampled_from([0.0, 0.01, 1.0, float("inf")])))


@st.composite
def by_value(draw: Draw) -> Case:
    length, table, _ = draw(buffers())
    return by_value_case("", length, table, draw(st.sampled_from([0.0, 0.5, 3.0])))


SWEEPS = [
    Sweep(ops.norm_partials, partials()),
    Sweep(ops.norm_total, st.builds(total_case, size(600, 0), ORDERS)),
    Sweep(ops.clip_by_norm, by_norm()),
    Sweep(ops.clip_by_value, by_value()),
]
