"""Every op on drawn shapes, attributes, dtypes and memory: on NumPy, and on the emulator under the race detector."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet import emulator
from gpunet.ops.base import REGISTRY
from tests.harness import sweep as harness
from tests.sweeps import SWEEPS

EXAMPLES = 200


@pytest.mark.parametrize("sweep", SWEEPS, ids=str)
def test_any_case_agrees_with_the_reference(be, sweep):
    mode = {"numpy": "numpy", "emulated": "race"}.get(be.name, be.name)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(case=sweep.cases, data=st.data())
    def check(case, data):
        harness.run(be, mode, case, data)

    with emulator.configure(mode="race") if mode == "race" else contextlib.nullcontext():
        check()


def test_every_op_is_swept():
    swept = {sweep.op.__name__ for sweep in SWEEPS}
    assert swept == set(REGISTRY), "write a Sweep in tests/sweeps/<family>.py"


def test_the_sweeps_met_every_dtype_and_kind_of_memory():
    assert harness.gaps() == []
