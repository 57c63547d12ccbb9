"""Sweeps of optimizer steps."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size


@st.composite
def chunk_tables(draw: Draw, length: int) -> list[list[int]]:
    """Draw runs of elements without overlap: rows (start, length, fresh)."""
    cuts = sorted(draw(st.lists(size(length, 0), max_size=6, unique=True)))
    return [[a, b - a, draw(size(1, 0))] for a, b in zip(cuts[:-1:2], cuts[1::2], strict=False)]


@st.composite
def sgd_steps(draw: Draw) -> Case:
    """Draw a table of chunks and PyTorch's settings."""
    length = draw(size(600, 0))
    rows = np.array(draw(chunk_tables(length)), np.int64).reshape(-1, 3)
    momentum = draw(st.sampled_from([0.0, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    attrs = {
        "momentum": momentum,
        "dampening": 0.0 if nesterov else draw(st.sampled_from([0.0, 0.5])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "nesterov": nesterov,
        "maximize": draw(st.booleans()),
    }
    buffers = dict.fromkeys(("param", "grad"), (length,))
    buffer = (length,) if momentum else None
    shapes = {**buffers, "momentum_buffer": buffer, "lr": (1,)}
    return Case(ops.sgd_step, shapes, {}, {}, attrs, {"chunks": lambda rng: rows}, wide=("lr",))


SWEEPS = [Sweep(ops.sgd_step, sgd_steps())]
