"""What all tests share: the oracle, random numbers, and the table of kernels (backends: tests/harness/backends.py)."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from tests.harness import kernel_table, prebuild
from tests.harness.backends import missing

os.environ["GPUNET_CHOICES"] = ""  # tests know which kernels the shipped table chooses


@pytest.fixture
def torch():
    """Return PyTorch, the oracle."""
    try:
        import torch
    except ImportError:
        missing("torch", "PyTorch is not installed (extra `oracle`)")
    torch.set_num_threads(1)
    return torch


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261124)


@pytest.fixture(scope="session", autouse=True)
def _kernels_built_ahead(request: pytest.FixtureRequest) -> None:
    prebuild.prebuild(prebuild.modes_of(request.session.items))


@pytest.fixture(autouse=True)
def _fresh_seed_and_strict_precision():
    """Start every test from the same random state; layers multiply float32 exactly unless a test says otherwise."""
    import gpunet

    gpunet.manual_seed(0)
    gpunet.set_float32_conv_precision("highest")
    gpunet.set_float32_matmul_precision("highest")


def pytest_terminal_summary(terminalreporter) -> None:
    sweep = sys.modules.get("tests.harness.sweep")  # needs hypothesis; without it, all other tests still run
    for line in (*kernel_table.lines(), *(sweep.coverage() if sweep else ())):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == 0 and kernel_table.incomplete():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
