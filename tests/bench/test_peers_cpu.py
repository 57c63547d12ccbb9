"""python -m bench.peers_cpu runs, tells what failed, and writes nothing when losses differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers_cpu import __main__ as command
from bench.peers_cpu import contestants, legs, rounds, workloads
from gpunet.backend import blas
from gpunet.data import write_idx
from tests.bench.peers import W1, entry, measured

ROOT = Path(__file__).resolve().parents[2]


def smoke(out, *arguments):
    line = [sys.executable, "-m", "bench.peers_cpu", *arguments, "--smoke", "--out", str(out)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    (path,) = out.glob("*.json") or (None,)
    return done, json.loads(path.read_text())


@pytest.fixture
def few_digits(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "mnist"
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", rng.integers(0, 256, (30, 28, 28), np.uint8))
    write_idx(folder / "train-labels-idx1-ubyte", rng.integers(0, 10, 30).astype(np.uint8))
    return str(folder)


def test_gpunet_alone_runs_every_workload(tmp_path, few_digits):
    done, content = smoke(tmp_path, "--contestants", "gpunet", "--data", few_digits)
    assert done.returncode == 0, done.stderr
    assert [result["name"] for result in content["results"]] == [f"{work.name} gpunet" for work in workloads.WORKLOADS]
    assert content["benchmark"] == "peers_cpu" and content["smoke"] and content["left_out"] == {}
    for result in content["results"]:
        extra = result["extra"]
        assert extra["turns"] == 1 and extra["ratio"] is None and len(extra["losses"]) == 4
        assert min(extra[key] for key in ("import_s", "build_s", "cold_s")) > 0 and extra["peak_rss"] > 10 << 20
        assert extra["workload"] in done.stdout and result["rounds"] == (1 if extra["workload"] == "W5" else 2)
    assert extra["images"] == 30 and extra["epochs"][0].keys() == {"loss", "accuracy", "images"}


def test_gpunet_beside_pytorch_has_its_losses(tmp_path, few_digits, torch):
    done, content = smoke(tmp_path, "--contestants", "gpunet,PyTorch", "--only", "W3,W5", "--data", few_digits)
    assert done.returncode == 0, done.stderr
    found = {result["name"]: result for result in content["results"]}
    assert found.keys() == {"W3 gpunet", "W3 PyTorch", "W5 gpunet", "W5 PyTorch"}
    assert found["W3 PyTorch"]["extra"]["ratio"] == 1
    ratio = found["W3 gpunet"]["median"] / found["W3 PyTorch"]["median"]
    assert found["W3 gpunet"]["extra"]["ratio"] == pytest.approx(ratio)


def test_batches_and_threads_are_measured(tmp_path):
    done, content = smoke(tmp_path, "scaling", "--contestants", "gpunet", "--only", "W1,W2")
    assert done.returncode == 0, done.stderr
    assert content["benchmark"] == "peers_cpu scaling"
    names = {result["name"] for result in content["results"]}
    threads = {f"{work} threads gpunet, {count}" for work in ("W1", "W2") for count in ("1 thread", "2 threads")}
    assert names == {"W2 batch 16 gpunet", "W2 batch 32 gpunet", *threads}
    assert "1 thread / 2 threads" in done.stdout


def test_without_data_a_line_says_so(tmp_path, capsys):
    assert command.main(["--smoke", "--only", "W5", "--out", str(tmp_path)]) == 1
    assert "nothing was measured: W5: no MNIST: --data FOLDER" in capsys.readouterr().err


def test_other_losses_of_gpunet_are_exit_code_3_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    both = [measured("gpunet", 1), measured("PyTorch", 1, losses=(2.0, 2.0))]
    monkeypatch.setattr(rounds, "measure", lambda *arguments: both)
    assert command.main(["--only", "W1", "--out", str(tmp_path / "new")]) == 3
    assert "W1 gpunet: its first losses are 2, 1.5, those of PyTorch 2, 2" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_peer_with_other_losses_is_exit_code_3_and_left_out(tmp_path, monkeypatch, capsys):
    three = [measured("gpunet", 1), measured("JAX", 1, losses=(2.0, 2.0)), measured("PyTorch", 1)]
    monkeypatch.setattr(rounds, "measure", lambda *arguments: three)
    assert command.main(["--only", "W1", "--out", str(tmp_path)]) == 3
    why = "its first losses are 2, 2, those of PyTorch 2, 1.5"
    assert f"W1 JAX: {why}" in capsys.readouterr().err
    content = json.loads((tmp_path / "cpu.json").read_text())
    assert [result["name"] for result in content["results"]] == ["W1 gpunet", "W1 PyTorch"]
    assert content["left_out"]["W1 JAX"] == why


def test_who_fails_is_named_with_a_reason_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    broken, absent = entry("broken"), entry("absent", package="no_such_package", pip="some-peer")
    compiled = entry("compiled", compiler="no-such-compiler")
    monkeypatch.setattr(contestants, "ENTRIES", (contestants.ENTRIES[0], broken, absent, compiled))
    assert command.main(["--smoke", "--only", "W1", "--out", str(tmp_path)]) == 4
    content = json.loads((tmp_path / "cpu.json").read_text())
    assert content["left_out"] == {
        "absent": "not installed: pip install some-peer",
        "compiled": "needs no-such-compiler on the PATH",
        "W1 broken": "ModuleNotFoundError: No module named 'bench.peers_cpu.contestants.broken'",
    }
    assert [result["name"] for result in content["results"]] == ["W1 gpunet"]
    assert "W1 broken: ModuleNotFoundError" in capsys.readouterr().out
    assert command.main(["--smoke", "--contestants", "absent", "--only", "W1", "--out", str(tmp_path)]) == 1
    assert "nothing was measured: absent: not installed: pip install some-peer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--only", "W9"], "--only: W9 begins none of W1, W2"),
        (["--contestants", "gpunet,torch"], "--contestants: torch is none of gpunet, PyTorch"),
        (["--rounds", "0"], "--rounds, --epochs and --threads: expected a number >= 1"),
        (["--only", "W1"], "a part of the run needs --out DIR"),
        (["--smoke"], "a part of the run needs --out DIR"),
        (["--smoke", "--out", "x", "--page"], "--page shows whole runs only"),
    ],
)
def test_wrong_usage_is_refused(capsys, arguments, text):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2 and text in capsys.readouterr().err


def test_a_folder_without_results_is_exit_code_1(tmp_path, capsys):
    assert command.main(["table", "--out", str(tmp_path)]) == 1
    assert command.main(["page", "--out", str(tmp_path)]) == 1
    assert "has no result files" in (said := capsys.readouterr().err) and "has no cpu.json" in said


def test_nothing_comes_before_the_library_that_is_timed():
    code = (
        "import sys, bench.peers_cpu.contestants, bench.peers_cpu.child; print({'numpy', 'gpunet'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_second_leg_limits_vector_instructions():
    if blas.describe()["kernels"] not in {"SkylakeX", "Cooperlake", "SapphireRapids", "Haswell", "Zen"}:
        pytest.skip("no OpenBLAS for x86 CPUs with AVX2")
    child = rounds.Child(contestants.ENTRIES[0], workloads.tiny(W1), rounds.Settings(leg="avx2", threads=1))
    child.close()
    assert child.facts["kernels"] == "Haswell"


def test_legs_limit_threads_and_instructions_in_the_environment_of_children(monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    native, avx2 = legs.environment("native", 3), legs.environment("avx2", 3)
    assert native["GPUNET_NUM_THREADS"] == avx2["GPUNET_NUM_THREADS"] == "3"
    assert (avx2["OPENBLAS_CORETYPE"], avx2["ONEDNN_MAX_CPU_ISA"]) == ("Haswell", "AVX2")
    assert not {"OPENBLAS_CORETYPE", "ONEDNN_MAX_CPU_ISA"} & native.keys()
