"""Sweeps of conversion."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from gpunet.backend.dtypes import floats
from tests.harness.sweep import Sweep
from tests.sweeps.elementwise import unary

SWEEPS: list[Sweep] = [unary(ops.cast, dtype=st.sampled_from(floats()))]
