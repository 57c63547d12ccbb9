"""Timing and the schema of result files, shared by every benchmark.

A result file says what was measured, where, with which versions and from which commit:

    {"schema": 1, "benchmark": ..., "date": ..., "commit": ..., "machine": {...}, "versions": {...},
     "results": [{"name": ..., "unit": "s", "median": ..., "p10": ..., "p90": ..., "min": ..., "rounds": ...,
                  "extra": {...}}]}
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

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


def machine() -> dict[str, Any]:
    """Describe this computer: CPU, cores, load, BLAS, and the GPU where there is one."""
    from gpunet import backend
    from gpunet.backend import blas

    described: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "blas": {key: value for key, value in blas.describe().items() if key != "path"},
        "gpu": None,
    }
    if not backend.unavailable("cuda"):
        import cupy

        described["gpu"] = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return described


def _cpu_name() -> str:
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
    """Return the commit of the checkout, with "+changes" where files differ from it."""
    root = Path(__file__).resolve().parent.parent
    try:
        name = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def report(benchmark: str, results: list[Result]) -> dict[str, Any]:
    """Return the content of a result file."""
    return {
        "schema": SCHEMA,
        "benchmark": benchmark,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "results": [asdict(result) for result in results],
    }


def save(path: str | os.PathLike[str], benchmark: str, results: list[Result]) -> None:
    """Write a result file, whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(report(benchmark, results), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, target)


def replace_name(result: Result, name: str) -> Result:
    """Return a result under another name."""
    return replace(result, name=name)
