"""Timing and the schema of result files, shared by every benchmark.

A result file says what was measured, where, with which versions and from which commit:

    {"schema": 1, "benchmark": ..., "date": ..., "commit": ..., "machine": {...}, "versions": {...},
     "results": [{"name": ..., "unit": "s", "median": ..., "p10": ..., "p90": ..., "min": ..., "rounds": ...,
                  "extra": {...}}]}

`extra` of the pytest suites holds what `bench/conftest.py` notes: op, case, backend, device, work and rates.
"""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from gpunet.io import write_json

SCHEMA = 1
_PACKAGES = ("numpy", "gpunet", "torch", "cupy-cuda12x", "cupy-cuda13x", "jax", "matplotlib")


@dataclass(frozen=True)
class Result:
    """The spread of one contestant's times, in seconds per call."""

    name: str
    unit: str
    median: float
    p10: float
    p90: float
    min: float
    rounds: int
    extra: dict[str, Any] = field(default_factory=dict)


def interleave(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warmup: int = 3,
    seconds: float | None = None,
    synchronize: Callable[[], object] = lambda: None,
) -> dict[str, Result]:
    """Time contestants in turn, A-B-A-B, so that a disturbance meets all of them.

    Args:
        contestants: what to call, by name.
        rounds: measured calls of each.
        warmup: calls before, not measured.
        seconds: stop earlier when this much time has passed, but not before 5 rounds.
        synchronize: waits for the device; called before and after each measured call.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for call in contestants.values():
        for _ in range(warmup):
            call()
    begin = time.perf_counter()
    for done in range(rounds):
        if seconds is not None and done >= 5 and time.perf_counter() - begin > seconds:
            break
        for name, call in contestants.items():
            synchronize()
            start = time.perf_counter()
            call()
            synchronize()
            times[name].append(time.perf_counter() - start)
    return {name: summarize(name, values) for name, values in times.items()}


def summarize(name: str, seconds: list[float], **extra: Any) -> Result:
    """Return median and spread of measured times."""
    if not seconds:
        raise ValueError(f"{name}: nothing was measured")
    ordered = sorted(seconds)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    median = statistics.median(ordered)
    return Result(name, "s", median, quantile(0.1), quantile(0.9), ordered[0], len(ordered), extra)


class CpuSeconds(NamedTuple):
    """Seconds of CPU time so far: all that were busy, those of this process, and all that there were."""

    busy: float
    own: float
    total: float


def cpu_seconds() -> CpuSeconds | None:
    """Read the CPUs' clocks; None outside Linux."""
    try:
        with open("/proc/stat", encoding="utf-8") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
    except OSError:
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return CpuSeconds((sum(ticks) - idle) / per_second, time.process_time(), sum(ticks) / per_second)


def elsewhere(before: CpuSeconds | None, after: CpuSeconds | None) -> float | None:
    """Return the share of all CPUs, 0 to 1, that anybody but this process used between two readings."""
    if before is None or after is None or after.total <= before.total:
        return None
    others = (after.busy - before.busy) - (after.own - before.own)
    return max(0.0, others) / (after.total - before.total)


def wait_until_idle(
    seconds: float,
    *,
    share: float = 0.05,
    every: float = 1.0,
    times: int = 3,
    read: Callable[[], CpuSeconds | None] = cpu_seconds,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Wait until others use less than `share` of the CPUs, `times` looks in a row; say whether that came.

    Looks `every` so many seconds and gives up after `seconds`. A system that does not say how busy it is counts as
    idle.
    """
    quiet, before = 0, read()
    for _ in range(int(seconds / every)):
        sleep(every)
        after = read()
        busy = elsewhere(before, after)
        if busy is None:
            return True
        quiet, before = quiet + 1 if busy < share else 0, after
        if quiet == times:
            return True
    return False


def machine() -> dict[str, Any]:
    """Describe this computer: CPU, cores, load, BLAS, and the GPU where there is one."""
    from gpunet import backend
    from gpunet.backend import blas

    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "blas": {key: value for key, value in blas.describe().items() if key != "path"},
        "gpu": None if backend.unavailable("cuda") else gpu_name(0),
    }


def gpu_name(index: int) -> str:
    """Return a GPU's name."""
    import cupy

    name: bytes = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode()


@functools.cache
def cpu_name() -> str:
    """Return the CPU's name, with its family where the name says little."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    return f"{known.get('model name', '?').strip()} (family {known.get('cpu family', '?').strip()})"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, where installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of the checkout, with "+changes" where files other than results differ from it."""
    root = Path(__file__).resolve().parent.parent
    status = ["git", "status", "--porcelain", "--", ".", ":!bench/results"]
    try:
        name = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(status, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def environment() -> dict[str, Any]:
    """Say when, from which commit, where and with which versions something is measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def report(benchmark: str, results: list[Result], where: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the content of a result file; `where` is the environment of the measurement, by default the present."""
    head = {"schema": SCHEMA, "benchmark": benchmark, **(environment() if where is None else where)}
    return {**head, "results": [asdict(result) for result in results]}


def save(
    path: str | os.PathLike[str], benchmark: str, results: list[Result], where: dict[str, Any] | None = None
) -> None:
    """Write a result file, whole or not at all."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report(benchmark, results, where))


def replace_name(result: Result, name: str) -> Result:
    """Return a result under another name."""
    return replace(result, name=name)
