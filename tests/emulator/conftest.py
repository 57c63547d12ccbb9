"""The emulator's own tests need the emulator; its kernels stand in *.cu, planted faults in planted*.cu."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from gpunet import emulator
from tests.harness.backends import missing

HERE = Path(__file__).parent
SCHEDULES = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2), ("random", 3)]


@pytest.fixture(scope="session", autouse=True)
def _emulator():
    reason = emulator.unavailable()
    if reason:
        missing("emulated", reason)


@pytest.fixture(params=["fast", "race"])
def mode(request) -> str:
    return request.param


@pytest.fixture(params=SCHEDULES, ids=lambda schedule: f"{schedule[0]}{schedule[1]}")
def schedule(request):
    """Run the test under one order of threads and blocks."""
    with emulator.configure(schedule=request.param[0], seed=request.param[1]):
        yield request.param


@functools.cache
def module(file: str, mode: str) -> emulator.RawModule:
    return emulator.RawModule(path=HERE / file, options=(f"-I{HERE}",), mode=mode)


def launch(file: str, mode: str, name: str, *args, grid=(1,), block=(32,), shared_mem=0) -> None:
    module(file, mode).get_function(name)(grid, block, args, shared_mem)


def ramp(size: int) -> np.ndarray:
    return np.arange(size, dtype=np.float32)


def aligned(values: np.ndarray) -> np.ndarray:
    """Return a copy that begins at a multiple of 16 bytes, as device memory does, in memory of just its size."""
    raw = np.empty(values.nbytes + 16, np.uint8)
    start = -raw.ctypes.data % 16
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy
