"""The GPU's clock: events round the work, one wait at the end; and pytest-benchmark counts rounds with it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cuda_timer import cuda_events
from tests.bench import fake_cupy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy)
    fake_cupy.LOG.clear()
    return fake_cupy


def test_a_difference_waits_once_after_all_work_is_queued(cupy):
    start = cuda_events()
    cupy.launch(0.25)
    cupy.launch(0.5)
    end = cuda_events()
    assert cupy.LOG == ["record", "work", "work", "record"]
    assert end - start == pytest.approx(0.75, abs=1e-5)
    assert cupy.LOG == ["record", "work", "work", "record", "wait"]


def test_work_before_and_after_does_not_count(cupy):
    cupy.launch(5)
    start = cuda_events()
    cupy.launch(0.5)
    end = cuda_events()
    cupy.launch(7)
    assert end - start == pytest.approx(0.5, abs=1e-5)


def test_cupy_has_what_the_clock_uses():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert callable(cupy.cuda.get_elapsed_time)
    assert {"record", "synchronize"} <= set(dir(cupy.cuda.Event))


BENCHMARK = """
import json, pathlib
import cupy, pytest
from bench.cuda_timer import cuda_events

@pytest.mark.benchmark(timer=cuda_events, min_time=0.01, max_time=0.05, min_rounds=5)
def test_kernel(benchmark):
    benchmark(lambda: cupy.launch(0.0005))
    pathlib.Path("log.json").write_text(json.dumps(cupy.LOG))
"""


def test_pytest_benchmark_fills_rounds_with_launches_and_waits_between_them(tmp_path):
    shutil.copy(fake_cupy.__file__, tmp_path / "cupy.py")
    (tmp_path / "test_kernel.py").write_text(BENCHMARK)
    command = [sys.executable, "-m", "pytest", "-q", "--benchmark-json=out.json", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr

    measured = json.loads((tmp_path / "out.json").read_text())["benchmarks"][0]
    stats = measured["stats"]
    assert stats["median"] == pytest.approx(0.0005, rel=0.01)
    assert stats["iterations"] == pytest.approx(20, abs=1)  # 10 ms of work of 0.5 ms
    assert stats["rounds"] == 5

    log = json.loads((tmp_path / "log.json").read_text())
    runs = [(name, len(list(group))) for name, group in itertools.groupby(log)]
    rounds = list(zip(runs, runs[1:], runs[2:], runs[3:], strict=False))
    timed = [("record", 1), ("work", stats["iterations"]), ("record", 1), ("wait", 1)]
    assert sum(list(four) == timed for four in rounds) >= stats["rounds"]
