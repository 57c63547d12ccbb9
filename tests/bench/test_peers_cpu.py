"""gpunet beside its peers on the CPU: it runs, losses must agree, ratios are to PyTorch, failures are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import timing
from bench.peers_cpu import __main__ as command
from bench.peers_cpu import contestants, results, rounds, table, workloads
from bench.peers_cpu.contestants import Entry

ROOT = Path(__file__).resolve().parents[2]
W1, W2 = workloads.WORKLOADS[:2]


def entry(name, **changes):
    return Entry(name, **{"module": name, "package": "numpy", "pip": name, **changes})


def measured(name, *milliseconds, workload=W1, losses=(2.0, 1.5), **changes):
    facts = {"import_s": 0.2, "build_s": 0.1, "cold_s": 0.05, "losses": list(losses), "kernels": "AVX2"}
    facts["peak_rss"] = 100 << 20
    times = [time / 1e3 for time in milliseconds]
    return rounds.Measured(entry(name), workload, facts, times, **{"rounds": 4, "contended": 1, **changes})


def smoke(out, *arguments):
    line = [sys.executable, "-m", "bench.peers_cpu", "--smoke", "--out", str(out), *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    return done, json.loads((out / "cpu.json").read_text()) if (out / "cpu.json").exists() else None


def test_gpunet_alone_runs_every_workload(tmp_path):
    done, content = smoke(tmp_path, "--contestants", "gpunet")
    assert done.returncode == 0, done.stderr
    assert [result["name"] for result in content["results"]] == [f"{work.name} gpunet" for work in workloads.WORKLOADS]
    assert content["benchmark"] == "peers_cpu" and content["smoke"] and content["left_out"] == {}
    for result in content["results"]:
        extra = result["extra"]
        assert result["rounds"] == 2 and extra["turns"] == 1 and extra["ratio"] is None and len(extra["losses"]) == 4
        assert min(extra[key] for key in ("import_s", "build_s", "cold_s")) > 0 and extra["peak_rss"] > 10 << 20
        assert extra["workload"] in done.stdout


def test_gpunet_beside_pytorch_has_its_losses(tmp_path, torch):
    done, content = smoke(tmp_path, "--contestants", "gpunet,PyTorch", "--only", "W3")
    assert done.returncode == 0, done.stderr
    found = {result["name"]: result for result in content["results"]}
    assert found.keys() == {"W3 gpunet", "W3 PyTorch"}
    assert found["W3 PyTorch"]["extra"]["ratio"] == 1
    ratio = found["W3 gpunet"]["median"] / found["W3 PyTorch"]["median"]
    assert found["W3 gpunet"]["extra"]["ratio"] == pytest.approx(ratio)


def test_ratios_are_of_medians_to_pytorch_in_the_same_workload():
    group = [measured("gpunet", 1, 2, 9), measured("PyTorch", 4, 3, 5), measured("gpunet", 7, workload=W2)]
    ours, theirs, alone = results.results(group, threads=2)
    assert (ours.name, ours.median, ours.extra["ratio"]) == ("W1 gpunet", 0.002, 0.5)
    assert (theirs.extra["ratio"], alone.extra["ratio"]) == (1.0, None)
    assert (ours.extra["turns"], ours.extra["contended"], ours.extra["threads"]) == (4, 1, 2)


def test_losses_must_agree_to_three_digits():
    close = measured("gpunet", 1, losses=(2.0015, 1.5)), measured("PyTorch", 1)
    assert results.disagreements(close) == []
    apart = measured("gpunet", 1, losses=(2.0, 1.503)), measured("JAX", 1), measured("PyTorch", 1)
    assert results.disagreements(apart) == ["W1: the losses of gpunet are 2, 1.503, those of PyTorch 2, 1.5"]
    others = measured("gpunet", 1), measured("PyTorch", 1, workload=W2, losses=(9.0, 9.0))
    assert results.disagreements(others) == []
    assert results.disagreements([measured("gpunet", 1), measured("JAX", 1, losses=(float("nan"), 1.5))])


def test_different_losses_are_exit_code_3_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    both = [measured("gpunet", 1), measured("PyTorch", 1, losses=(2.0, 2.0))]
    monkeypatch.setattr(rounds, "measure", lambda *arguments: both)
    assert command.main(["--only", "W1", "--out", str(tmp_path / "new")]) == 3
    assert "W1: the losses of gpunet are 2, 1.5, those of PyTorch 2, 2" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_who_fails_is_named_with_a_reason_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    broken, absent = entry("broken"), entry("absent", package="no_such_package", pip="some-peer")
    monkeypatch.setattr(contestants, "ENTRIES", (contestants.ENTRIES[0], broken, absent))
    assert command.main(["--smoke", "--only", "W1", "--out", str(tmp_path)]) == 4
    content = json.loads((tmp_path / "cpu.json").read_text())
    assert content["left_out"] == {
        "absent": "not installed: pip install some-peer",
        "W1 broken": "ModuleNotFoundError: No module named 'bench.peers_cpu.contestants.broken'",
    }
    assert [result["name"] for result in content["results"]] == ["W1 gpunet"]
    assert "W1 broken: ModuleNotFoundError" in capsys.readouterr().out
    assert command.main(["--smoke", "--contestants", "absent", "--out", str(tmp_path)]) == 1
    assert "nothing was measured: absent: not installed: pip install some-peer" in capsys.readouterr().err


def test_where_gpunet_loses_is_told_from_the_numbers():
    group = [measured("gpunet", 4), measured("JAX", 2), measured("PyTorch", 3), measured("DeZero", 5)]
    assert results.losing(results.results(group, threads=2)) == [
        "W1: JAX takes 0.50 of gpunet's time (2 ms and 4 ms)",
        "W1: PyTorch takes 0.75 of gpunet's time (3 ms and 4 ms)",
    ]
    assert results.losing(results.results([measured("gpunet", 1), measured("PyTorch", 2)], threads=2)) == []


def test_each_round_starts_with_another_contestant():
    assert list(rounds._turns(["a", "b", "c"], 4)) == [*"abc", *"bca", *"cab", *"abc"]


def test_the_table_has_the_fastest_first_and_names_the_cpu():
    found = results.results([measured("PyTorch", 3), measured("gpunet", 1)], threads=2)
    where = {"date": "then", "commit": "c", "machine": {"cpu": "a CPU", "load": 0.1}, "versions": {}}
    head = {"threads": 2, "leg": "native", "left_out": {"JAX": "not installed: pip install jax"}}
    text = table.table({**timing.report("peers_cpu", found, where), **head})
    lines = [" ".join(line.split()) for line in text.splitlines()]
    ours = lines.index("gpunet 1 ms 1 ms 0.33 3 of 4 200 ms 100 ms 50 ms 100 MB")
    assert lines[0].startswith("a CPU, 2 threads") and lines[ours + 1].startswith("PyTorch 3 ms")
    assert "JAX: not installed: pip install jax" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--only", "W9"], "--only: W9 begins none of W1, W2"),
        (["--contestants", "gpunet,torch"], "--contestants: torch is none of gpunet, PyTorch"),
        (["--rounds", "0"], "--rounds and --threads: expected a number >= 1"),
        (["--only", "W1"], "a part of the run needs --out DIR"),
        (["--smoke"], "a part of the run needs --out DIR"),
    ],
)
def test_wrong_usage_is_refused(capsys, arguments, text):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2 and text in capsys.readouterr().err
