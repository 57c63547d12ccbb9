"""Sweeps of activations."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.sweeps.elementwise import unary

settings = st.sampled_from([-0.7, 0.0, 0.3, 1.5])

SWEEPS = [
    *map(unary, (ops.relu, ops.sigmoid, ops.tanh)),
    unary(ops.elu, alpha=settings),
    unary(ops.leaky_relu, negative_slope=settings),
]
