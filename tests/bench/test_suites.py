"""The suites run on kernels, the GPU gets its own clock, and the command writes what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as command
from gpunet import backend, emulator
from tests.harness.backends import missing

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted(path.stem for path in (ROOT / "bench").glob("bench_*.py"))


def run(*arguments):
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


def test_every_benchmark_runs_on_emulated_kernels():
    if reason := emulator.unavailable():
        missing("emulated", reason)
    done = run("-m", "pytest", "bench", "--backend=emulated", "--benchmark-disable", "-vv", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [line for line in done.stdout.splitlines() if "PASSED" in line]
    assert {line.partition("::")[0] for line in passed} >= {f"bench/{suite}.py" for suite in SUITES}
    assert all("emulated" in line for line in passed if "bench_" in line)


COLLECT = """
import pytest
class Spy:
    def pytest_collection_finish(self, session):
        for item in session.items:
            cases, marker = item.get_closest_marker("cases"), item.get_closest_marker("benchmark")
            if cases:
                size = "tiny" if item.callspec.params["case"] is cases.kwargs["tiny"] else "full"
                timer = marker.kwargs["timer"].__name__ if marker else "default"
                print("item", item.callspec.params["backend_name"], size, timer)
backends = [f"--backend={name}" for name in ("numpy", "cupy", "emulated")]
pytest.main(["bench", "--collect-only", "-p", "no:cacheprovider", *backends], plugins=[Spy()])
"""


def test_the_gpu_is_timed_with_its_own_events_and_the_emulator_meets_tiny_sizes_only():
    items = [line.split()[1:] for line in run("-c", COLLECT).stdout.splitlines() if line.startswith("item")]
    expected = {("numpy", "full", "default"), ("cupy", "full", "cuda_events"), ("emulated", "tiny", "default")}
    assert {tuple(item) for item in items} == expected
    backends = [backend for backend, _, _ in items]
    assert backends.count("cupy") == backends.count("numpy") > backends.count("emulated") >= len(SUITES)


def test_the_command_measures_and_writes_files_table_and_plot(tmp_path):
    done = run("-m", "bench", "--backend", "numpy", "-k", "cross_entropy and N64", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"loss.json", "bench.png"}
    assert "cross_entropy with gradient" in done.stdout and "GPU: not yet measured" in done.stdout
    result = json.loads((tmp_path / "loss.json").read_text())["results"][0]
    extra = result["extra"]
    assert result["unit"] == "s" and result["rounds"] >= 7
    assert (extra["backend"], extra["dtype"], extra["shape"]) == ("numpy", "float32", [64, 10])
    assert extra["threads"] >= 1 and extra["device"]
    assert extra["gflop_per_s"] == pytest.approx(extra["flops"] / result["median"] / 1e9)
    assert extra["gb_per_s"] == pytest.approx(extra["bytes"] / result["median"] / 1e9)
    again = run("-m", "bench", "report", tmp_path / "loss.json", "--plot", tmp_path / "again.png")
    assert again.returncode == 0 and "N64 C10" in again.stdout and (tmp_path / "again.png").exists()


def test_a_gpu_that_is_required_but_missing_fails_and_nothing_is_written(tmp_path, monkeypatch, capfd):
    if not backend.unavailable("cuda"):
        pytest.skip("there is a GPU here")
    monkeypatch.setenv("GPUNET_REQUIRE", "cupy")
    assert command.main(["-k", "cross_entropy and N64", "--out", str(tmp_path / "new")]) == 1
    out, err = capfd.readouterr()
    assert "GPUNET_REQUIRE names cupy, but:" in out and "N64 C10" in out and "nothing is written" in err
    assert not (tmp_path / "new").exists()


def test_a_part_of_the_suites_does_not_replace_whole_results(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["-k", "conv"])
    assert stop.value.code == 2 and "needs --out DIR" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, capsys):
    assert command.main(["report", str(tmp_path / "no.json")]) == 1
    assert capsys.readouterr().err.startswith("python -m bench: [Errno 2] No such file")


def test_nothing_measured_is_an_error(tmp_path, capfd):
    assert command.main(["-k", "no_such_benchmark", "--out", str(tmp_path)]) == 5
    assert "pytest measured nothing" in capfd.readouterr().err and not list(tmp_path.iterdir())
