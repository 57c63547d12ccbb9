"""Compiles kernels in parallel before many tests run, which else compile them one after another as they meet them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from gpunet import emulator
from gpunet.backend import emulated, kernels
from gpunet.backend.check import cpus
from gpunet.emulator import build
from gpunet.errors import KernelError

# From so many tests on, it is likely that they launch most kernels. In banks mode they never do.
MANY = {"fast": 60, "race": 20, "asan": 20}


def modes_of(items: Iterable[pytest.Item]) -> list[str]:
    """Return the emulator modes for which it pays to compile all kernels before these tests run."""
    tests: Counter[str] = Counter()
    for item in items:
        if "emulated" in getattr(item, "fixturenames", ()):  # of tests/kernels
            tests.update(list(MANY))
        elif hasattr(item, "callspec") and item.callspec.params.get("backend_name") == "emulated":
            tests["fast"] += 1
    return [mode for mode, many in MANY.items() if tests[mode] >= many]


def prebuild(modes: Sequence[str]) -> None:
    """Compile every variant of every kernel file, with one g++ per CPU. A text that does not compile is left out:
    the test that launches it says why.
    """
    jobs = [
        (kernels.load(file), defines, mode)
        for mode in modes
        for file in kernels.kernel_files()
        for defines in kernels.variants(file)
    ]
    if not jobs or emulator.unavailable():
        return
    with ThreadPoolExecutor(cpus()) as pool:
        shared = [(make, mode) for mode in modes for make in (build.runtime, build.header)]
        list(pool.map(lambda job: job[0](job[1], build.cache_directory()), shared))
        list(pool.map(lambda job: _build(*job), jobs))


def _build(source: kernels.Source, defines: dict[str, str], mode: str) -> None:
    with suppress(KernelError):
        build.library(source.text, None, emulated.compile_options(defines), mode)
