"""Every kernel's cases under the emulator's checks: races, other schedules, bounds; and through NVRTC."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gpunet import backend, emulator
from gpunet.backend import Device, kernels, nvrtc
from tests.cases import CASES, SPECIALS
from tests.harness import kernel_table
from tests.harness.backends import missing
from tests.harness.case import FLOATS
from tests.harness.oracle import result_bytes

SCHEDULES = (("reverse", 0), ("random", 1), ("random", 2))


@pytest.fixture(scope="module")
def emulated():
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())
    return backend.get(Device("emulated"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_case_has_a_race(emulated, case):
    with emulator.configure(mode="race"):
        for dtype in FLOATS:
            result_bytes(emulated, case, dtype)
    kernel_table.passed("race", case.kernels)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_schedule_gives_the_same_bits(emulated, case):
    expected = result_bytes(emulated, case, np.float32)
    for schedule, seed in SCHEDULES:
        with emulator.configure(schedule=schedule, seed=seed, workers=1 + seed):
            assert result_bytes(emulated, case, np.float32) == expected, schedule


@pytest.mark.parametrize("special", SPECIALS, ids=str)
def test_special_launches_hold_in_every_mode_and_schedule(emulated, special):
    special.run(emulated)
    for schedule, seed in SCHEDULES:
        with emulator.configure(schedule=schedule, seed=seed):
            special.run(emulated)
    with emulator.configure(mode="race"):
        special.run(emulated)
    for mode in ("fast", "race"):
        kernel_table.passed(mode, special.kernels)


def test_no_case_leaves_its_memory(emulated, tmp_path):
    report = tmp_path / "launched.json"
    result = subprocess.run(
        [sys.executable, "-m", "tests.kernels.run_cases", str(report)],
        env={**os.environ, **emulator.asan_environment(), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    kernel_table.passed("asan", json.loads(report.read_text()))


@pytest.fixture(scope="module")
def compiler():
    if nvrtc.unavailable():
        missing("emulated", nvrtc.unavailable())


@pytest.mark.parametrize("file", kernels.kernel_files())
def test_nvrtc_compiles_every_variant_without_warnings_or_spills(compiler, file):
    source = kernels.load(file)
    jobs = [(defines, arch) for defines in kernels.variants(file) for arch in nvrtc.ARCHS]
    with ThreadPoolExecutor(2) as pool:
        compiled = list(pool.map(lambda job: nvrtc.compile_source(source, *job), jobs))
    for (defines, arch), result in zip(jobs, compiled, strict=True):
        assert not result.warnings, result.warnings
        assert result.usage.keys() == source.kernels.keys()
        for name, usage in result.usage.items():
            assert usage.max_threads, f"{name} has no launch bounds"
            assert usage.spill_bytes == 0 and usage.registers <= usage.register_limit, f"{name} sm_{arch} {defines}"
            assert usage.shared_bytes <= 48 * 1024
            assert usage.stack_bytes == 0 or arch not in (80, 90), f"{name} sm_{arch} {defines} uses local memory"
    kernel_table.passed("nvrtc", source.kernels)


def test_kernels_use_no_float_atomics_and_no_cuda_headers():
    for file in kernels.kernel_files():
        text = kernels.load(file).text
        assert not re.search(r"#include\s*<", text), file
        for call in re.findall(r"atomic\w+\(([^,]*),", text):
            assert call.strip() == "error", f"{file}: atomics are for the error word only, not {call}"


def test_every_kernel_is_launched_by_a_case():
    assert set(kernel_table.all_kernels()) == {name for case in (*CASES, *SPECIALS) for name in case.kernels}


def test_the_table_is_complete(emulated):
    """From here on, a kernel without a row fails the run."""
    for mode in kernel_table.MODES:
        if mode != "nvrtc" or not nvrtc.unavailable():
            kernel_table.expect(mode)
