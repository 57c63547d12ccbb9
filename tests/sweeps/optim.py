"""Sweeps of optimizer steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from tests.cases.optim import adam_case, sgd_case
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size


@st.composite
def tables(draw: Draw, length: int) -> dict[str, Any]:
    """Draw runs of elements without overlap, as rows (start, length, counter), and the counters, some of them 0."""
    cuts = sorted(draw(st.lists(size(length, 0), min_size=min(2, length), max_size=6, unique=True)))
    runs = list(zip(cuts[:-1:2], cuts[1::2], strict=False))
    counters = draw(st.permutations(range(len(runs) + draw(size(2, 0)))))
    rows = [(a, b - a, counter) for (a, b), counter in zip(runs, counters, strict=False)]
    steps = np.array(draw(st.lists(size(9, 0), min_size=len(counters), max_size=len(counters))), np.int64)
    chunks = np.array(rows, np.int64).reshape(-1, 3)
    return {"steps": lambda rng: steps.copy(), "chunks": lambda rng: chunks}


@st.composite
def sgd_steps(draw: Draw) -> Case:
    """Draw a table of chunks and PyTorch's settings."""
    length = draw(size(1500, 0))
    momentum = draw(st.sampled_from([0.0, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    attrs = {
        "momentum": momentum,
        "dampening": 0.0 if nesterov else draw(st.sampled_from([0.0, 0.5])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "nesterov": nesterov,
        "maximize": draw(st.booleans()),
    }
    return sgd_case("", length, draw(tables(length)), momentum_buffer=momentum > 0, **attrs)


@st.composite
def adam_steps(draw: Draw) -> Case:
    """Draw a table of chunks and PyTorch's settings."""
    length = draw(size(1500, 0))
    attrs = {
        "beta1": draw(st.sampled_from([0.0, 0.9])),
        "beta2": draw(st.sampled_from([0.5, 0.999])),
        "eps": draw(st.sampled_from([1e-8, 0.1])),
        "weight_decay": draw(st.sampled_from([0.0, 0.1])),
        "decoupled_weight_decay": draw(st.booleans()),
        "maximize": draw(st.booleans()),
    }
    return adam_case("", length, draw(tables(length)), amsgrad=draw(st.booleans()), **attrs)


SWEEPS = [Sweep(ops.sgd_step, sgd_steps()), Sweep(ops.adam_step, adam_steps())]
