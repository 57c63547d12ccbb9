"""How every suite measures: which clock, how often, what is noted beside the times.

A benchmark takes `measure` and hands it a call; `measure` warms up, times it, and notes work, rates and device in
pytest-benchmark's `extra_info`, from which `bench.report` makes result files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet
from bench import timing
from bench.cuda_timer import cuda_events
from bench.work import Work
from gpunet.backend import Backend, blas

# Our defaults of pytest-benchmark's options; the command line goes before them. The limits keep `pytest bench` within
# four minutes on two cores. A round lasts at least min_time, so that calls of microseconds are timed in bulk.
DEFAULTS = {
    "min_rounds": 7,
    "max_time": "0.5",
    "min_time": "0.001",
    "columns": ["min", "median", "iqr", "rounds", "iterations"],
}
collect_ignore = ["peers_cpu/contestants"]  # each imports a library that may be missing
CUDA_ROUND = 0.01  # seconds: at least this much queued work between two readings, so that launches overlap
WARMUP_CALLS = 3

_ENVIRONMENT = pytest.StashKey[dict[str, Any]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(*cases, tiny): the sizes of a benchmark; `tiny` is for the emulator")
    given = " ".join(config.invocation_params.args)
    for name, value in DEFAULTS.items():
        if f"--benchmark-{name.replace('_', '-')}" not in given:
            setattr(config.option, f"benchmark_{name}", value)
    config.stash[_ENVIRONMENT] = timing.environment()


def pytest_sessionstart() -> None:
    """Bring glibc's malloc to the state of a process that has run for a while.

    It keeps freed blocks up to the size of the largest that it ever got back, 32 MB at most; before that, each array
    costs page faults anew. Without this, times depended on which benchmarks had run before, by up to four times.
    """
    np.empty(31 << 20, np.uint8)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("cases")
    if marker:
        metafunc.parametrize("case", [*marker.args, marker.kwargs["tiny"]], ids=str)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _belongs(item)]
    for item in items:
        if isinstance(item, pytest.Function) and _backend_of(item) == "cupy":
            item.add_marker(pytest.mark.benchmark(timer=cuda_events, min_time=CUDA_ROUND))


def _backend_of(item: pytest.Function) -> object:
    return item.callspec.params.get("backend_name") if hasattr(item, "callspec") else None


def _belongs(item: pytest.Item) -> bool:
    """Say whether a size is meant for its backend: the tiny one for the emulator, the others for the rest."""
    marker = item.get_closest_marker("cases")
    if marker is None or not isinstance(item, pytest.Function):
        return True
    return (_backend_of(item) == "emulated") == (item.callspec.params["case"] is marker.kwargs["tiny"])


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    output_json["environment"] = config.stash[_ENVIRONMENT]


@pytest.fixture(autouse=True)
def _fresh_seed() -> None:
    gpunet.manual_seed(0)


def _device_name(be: Backend) -> str:
    if be.name == "cupy":
        return timing.gpu_name(be.device.index)
    return timing.cpu_name() if be.name == "numpy" else be.name


# `be` comes first: where it skips, pytest-benchmark's fixture must not have been made, or it complains.
@pytest.fixture
def measure(be: Backend, benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return the function that times a call: measure(call, op, case, work)."""

    def measure(call: Callable[[], object], op: str, case: Any, work: Work) -> None:
        benchmark.group = f"{op}, {case}"
        benchmark.extra_info.update(
            suite=request.path.stem.removeprefix("bench_"),
            op=op,
            case=str(case),
            backend=be.name,
            device=_device_name(be),
            threads=blas.threads() if be.name == "numpy" else None,
            dtype="float32",
            shape=list(case.x),
            flops=work.flops,
            bytes=work.bytes,
        )
        before = timing.cpu_seconds()
        if be.name == "emulated":
            benchmark.pedantic(call, rounds=1)
        else:
            for _ in range(WARMUP_CALLS if benchmark.enabled else 0):
                call()
            be.synchronize()
            benchmark(call)
        be.synchronize()  # an error on the device belongs to this benchmark, not to the next one
        if benchmark.enabled:
            seconds = benchmark.stats["median"]
            benchmark.extra_info.update(
                gflop_per_s=work.flops / seconds / 1e9,
                gb_per_s=work.bytes / seconds / 1e9,
                elsewhere=timing.elsewhere(before, timing.cpu_seconds()),
            )

    return measure
