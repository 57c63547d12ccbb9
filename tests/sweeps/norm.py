"""Sweeps of batch norm."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from tests.cases.norm import STATISTICS
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size


@st.composite
def batch_norms(draw: Draw) -> Case:
    """Draw sizes on both sides of a tile's width, and which arrays are given; the batch may be empty."""
    spatial = draw(st.integers(0, 3).flatmap(lambda axes: shapes(axes, 4 - (axes == 3), 1)))
    channels = draw(st.one_of(size(4), size(34, 31)))
    pixels = int(np.prod(spatial))
    training = draw(st.booleans())
    batch = draw(size(9, 0).filter(lambda n: not training or n * pixels != 1))
    given_ = draw(st.lists(st.sampled_from(STATISTICS[2:]), unique=True))
    running = not training or draw(st.booleans())
    tracked = [*given_, *(STATISTICS[:2] if running else ())]
    counted = draw(st.booleans())
    attrs = {"training": training, "momentum": draw(st.sampled_from([0.1, 0.7, *([None] if counted else [])]))}
    eps = draw(st.sampled_from([1e-3, 0.1]))
    return Case(
        ops.batch_norm,
        {"x": (batch, channels, *spatial), **{name: (channels,) if name in tracked else None for name in STATISTICS}},
        {},
        {},
        {**attrs, "eps": eps},
        {"num_batches_tracked": lambda rng: np.array(int(rng.integers(0, 5))) if counted else None},
        wide=STATISTICS if draw(st.booleans()) else (),
        positive=("running_var",),
        scale=8 / eps**0.5,  # what rounding errors are multiplied with where a channel is constant
    )


SWEEPS = [Sweep(ops.batch_norm, batch_norms())]
