"""The whole run, dry: it writes what it says, tells what went wrong by its exit code, and keeps what it has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.gpu import __main__ as command
from bench.gpu import memory, phases, probe, products, suite, warm
from gpunet import backend, emulator
from gpunet.backend import Device, kernels
from tests.harness.backends import missing

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"


@pytest.fixture(autouse=True)
def _emulator(torch):
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(products, "rows", lambda toy: iter(()))
    relu = [row for row in memory.rows(True) if row.op == "relu forward"]
    monkeypatch.setattr(memory, "rows", lambda toy: iter(relu))


def run(out, *arguments):
    """Run in this process; return the exit code and what stands in the file."""
    code = command.main(["--dry-run", "--out", str(out), *arguments])
    return code, json.loads((out / "emulated.json").read_text())


def test_a_dry_run_does_everything_and_touches_no_results(tmp_path):
    before = {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")}
    line = [sys.executable, "-m", "bench.gpu", "--dry-run", "--out", str(tmp_path), "--commit", "abc"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in RESULTS.rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} == {"emulated.json", "emulated.png", "emulated.txt", "suite.txt"}

    content = json.loads((tmp_path / "emulated.json").read_text())
    assert content["dry_run"] is True and content["benchmark"] == "gpu dry run" and content["commit"] == "abc"
    assert content["complete"] and not content["wrong"] and not content["left_out"]
    assert {name: phase["status"] for name, phase in content["phases"].items() if name != "sanitizer"} == {
        "probe": "done",
        "warm": "done",
        "suite": "done",
        "bench": "done",
    }
    named = {(r["extra"]["op"], r["extra"]["case"], r["extra"]["precision"]) for r in content["results"]}
    assert {(row.op, row.case, row.precision) for row in (*products.rows(True), *memory.rows(True))} <= named
    ours = [result["extra"] for result in content["results"] if result["extra"]["contestant"] == "gpunet"]
    assert all(extra["kernels"] for extra in ours)
    assert "DRY RUN" in done.stdout and (tmp_path / "emulated.txt").read_text().strip() in done.stdout

    again = subprocess.run(
        [*line[:3], "report", str(tmp_path / "emulated.json")], cwd=ROOT, capture_output=True, text=True
    )
    assert again.returncode == 0 and again.stdout.strip() == (tmp_path / "emulated.txt").read_text().strip()


def test_a_dry_run_cannot_write_among_measured_results(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--dry-run", "--out", str(RESULTS / "gpu")])
    assert stop.value.code == 2 and "a dry run measures nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"), [(["--only", "bench"], "needs --out DIR"), (["--budget", "0"], "above 0")]
)
def test_wrong_usage_is_refused(capsys, arguments, text):
    with pytest.raises(SystemExit) as stop:
        command.main(["--dry-run", *arguments])
    assert stop.value.code == 2 and text in capsys.readouterr().err


def test_rows_are_named_and_called_alone(capsys):
    assert command.main(["rows", "linear forward, N64 C784"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split("  ")[0] == "linear forward, N64 C784 -> 512, tf32"
    assert command.main(["--dry-run", "call", "gemm forward, 16x16x16, bf16", "--times", "2"]) == 0
    assert capsys.readouterr().out.startswith("gemm forward, 16x16x16, bf16: 2 calls, 2 x ")
    assert command.main(["--dry-run", "call", "gemm forward"]) == 1
    assert "4 rows have that in their names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("only", "ends"),
    [
        ([], {"probe": 0.03, "warm": 0.25, "suite": 0.53, "sanitizer": 0.63, "bench": 1.0}),
        (["--only", "bench"], {"probe": 0.03 / 0.4, "bench": 1.0}),
        (["--only", "suite", "--only", "sanitizer"], {"probe": 0.03 / 0.41, "suite": 0.31 / 0.41, "sanitizer": 1.0}),
    ],
)
def test_chosen_phases_share_all_of_the_time(tmp_path, only, ends):
    chosen = phases.Run(command.parser().parse_args(["--dry-run", "--out", str(tmp_path), *only]))
    assert {name: chosen.share(name) for name in ends} == pytest.approx(ends) and chosen.only == set(ends)


def test_a_part_of_the_rows_is_measured(tmp_path, capsys):
    code, content = run(tmp_path, "--only", "bench", "-k", "relu gradient")
    assert "rows without 'relu gradient' in their names: not asked for (-k)" in content["left_out"]
    assert code == 4 and {r["extra"]["op"] for r in content["results"]} == {"copy", "product", "relu gradient"}
    assert command.main(["--dry-run", "--out", str(tmp_path), "-k", "no such"]) == 1
    assert "no row has 'no such' in its name" in capsys.readouterr().err


def test_without_a_gpu_the_message_says_what_can_be_done(tmp_path, capsys):
    if not backend.unavailable("cuda"):
        pytest.skip("there is a GPU here")
    assert command.main(["--out", str(tmp_path / "new")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("python -m bench.gpu: CuPy") and "--dry-run" in error
    assert not (tmp_path / "new").exists()


def test_failing_tests_do_not_cost_the_measurements(tmp_path, monkeypatch, few_rows):
    (tmp_path / "test_it.py").write_text("def test_bad(): assert False\ndef test_good(): pass\n")
    line = [sys.executable, *suite.PYTEST, "-c", os.devnull, str(tmp_path)]
    monkeypatch.setattr(suite, "pytest_command", lambda *arguments: line)
    code, content = run(tmp_path / "out", "--only", "suite", "--only", "bench")
    assert code == 3 and content["phases"]["suite"]["status"] == "wrong"
    assert len(content["wrong"]) == 1 and content["wrong"][0].endswith("test_it.py::test_bad")
    assert sum(result["extra"]["op"] == "relu forward" for result in content["results"]) >= 2
    assert "assert False" in (tmp_path / "out" / "suite.txt").read_text()


def test_what_time_did_not_allow_is_named_and_the_rest_is_kept(tmp_path, monkeypatch, few_rows):
    real = phases.Bench._row

    def slow(bench, row, until):
        real(bench, row, until)
        monkeypatch.setattr(time, "perf_counter", lambda real=time.perf_counter: real() + 1e6)

    monkeypatch.setattr(phases.Bench, "_row", slow)
    code, content = run(tmp_path, "--only", "bench")
    assert code == 4 and content["complete"] is False
    assert "relu forward, N2 C8 4x4, bf16: no time was left" in content["left_out"]
    assert "warm: not asked for (--only)" in content["left_out"]
    assert any(result["extra"]["op"] == "relu forward" for result in content["results"])
    assert "NOT COMPLETE" in (tmp_path / "emulated.txt").read_text()


def test_a_phase_that_breaks_is_wrong_and_the_others_run(tmp_path, monkeypatch, few_rows):
    monkeypatch.setattr(warm, "build", lambda *arguments: 1 / 0)
    code, content = run(tmp_path, "--only", "warm", "--only", "bench")
    assert code == 3 and content["wrong"] == ["warm broke: ZeroDivisionError: division by zero"]
    assert content["phases"]["bench"]["status"] == "done"


def test_files_that_lack_a_package_are_left_out_and_others_that_break_are_wrong(tmp_path, monkeypatch):
    (tmp_path / "test_lacks.py").write_text("import no_such_package\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    line = [sys.executable, *suite.PYTEST, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    monkeypatch.setattr(suite, "pytest_command", lambda *arguments: line)
    code, content = run(tmp_path / "out", "--only", "suite")
    assert code == 4 and content["phases"]["suite"]["status"] == "partial"
    assert any("test_lacks.py; to run them: pip install no_such_package" in text for text in content["left_out"])
    (tmp_path / "test_lacks.py").write_text("1 / 0\n")
    code, content = run(tmp_path / "out", "--only", "suite")
    assert code == 3 and content["wrong"][0].endswith("test_lacks.py cannot be imported")


HANG = """
import sys, time, torch
from bench.gpu import __main__, memory, phases, products
phases.HUNG = 4
memory.rows = lambda toy, rows=memory.rows: [row for row in rows(toy) if row.op == "relu forward"]
products.rows = lambda toy: []
measure = phases.Bench._row
def hangs(bench, row, until):
    measure(bench, row, until) if row.precision == "fp32" else time.sleep(100)
phases.Bench._row = hangs
sys.exit(__main__.main(["--dry-run", "--only", "bench", "--budget", "12", "--out", sys.argv[1]]))
"""


def test_a_kernel_that_never_ends_does_not_cost_what_was_measured_before(tmp_path):
    begin = time.perf_counter()
    line = [sys.executable, "-c", HANG, str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3 and time.perf_counter() - begin < 60, done.stdout + done.stderr
    content = json.loads((tmp_path / "emulated.json").read_text())
    assert content["wrong"] == ["bench hung, in relu forward, N2 C8 4x4, bf16"]
    assert content["phases"]["bench"]["status"] == "hung" and content["complete"] is False
    assert any(result["extra"]["op"] == "relu forward" for result in content["results"])


def test_missing_packages_are_named(tmp_path, monkeypatch):
    nothing = dict.fromkeys((*probe.MODULES, *probe.TOOLS))
    monkeypatch.setattr(probe, "software", lambda: nothing)
    monkeypatch.setattr(phases.rig, "dry", lambda: __import__("no_such_torch"))
    code, content = run(tmp_path, "--only", "suite", "--only", "sanitizer", "--only", "bench")
    assert code == 4
    assert [line.split(":")[0] for line in content["left_out"]] == ["warm", "suite", "bench"]
    assert content["phases"]["sanitizer"]["status"] == "left out"


def test_tools_are_found_where_the_toolkit_puts_them(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert probe.software()["compute-sanitizer"] == str(tool) and probe.smi() == {}


def test_the_sanitizer_runs_where_it_is(tmp_path, monkeypatch):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\necho "$@"\necho "tests/a.py::test_it[emulated] PASSED"\ncase "$1" in *race*) exit 97;; esac\n'
    )
    tool.chmod(0o755)
    software = {**dict.fromkeys(probe.MODULES, "1"), "compute-sanitizer": str(tool)}
    monkeypatch.setattr(probe, "software", lambda: software)
    code, content = run(tmp_path / "out", "--only", "sanitizer")
    assert code == 3 and content["wrong"] == [
        f"sanitizer racecheck: exit code 97, see {tmp_path}/out/sanitizer-racecheck.txt"
    ]
    words = (tmp_path / "out" / "sanitizer-memcheck.txt").read_text().split()
    assert words[:2] == ["--tool=memcheck", "--error-exitcode=97"] and sys.executable in words


# Parts of it.


def test_output_of_pytest_is_counted(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "import pytest\n@pytest.mark.parametrize('x', ['a b', 'c - d'])\ndef test_it(x): assert x == 'a b'\n"
        "def test_skip(): pytest.skip('no')\n"
        "@pytest.fixture\ndef broken(): raise OSError\ndef test_error(broken): pass\n"
    )
    (tmp_path / "test_b.py").write_text("import no_such_package\n")
    line = [sys.executable, *suite.PYTEST, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    tested = suite.run(line, tmp_path / "out.txt", dict(os.environ), 60)
    assert tested.code == 1 and tested.selected == tested.done == 4
    assert tested.counts == {"PASSED": 1, "FAILED": 1, "SKIPPED": 1, "ERROR": 1}
    assert [name.rpartition("::")[2] for name in tested.failed] == ["test_it[c - d]", "test_error"]
    assert [Path(name).name for name in tested.broken] == ["test_b.py"] and tested.missing == {"no_such_package"}


def test_tests_end_when_their_time_is_over(tmp_path):
    script = "import subprocess, sys\nprint('t.py::test_it PASSED', flush=True)\nsubprocess.run(['sleep', '60'])"
    begin = time.perf_counter()
    tested = suite.run([sys.executable, "-c", script], tmp_path / "out.txt", dict(os.environ), 1)
    assert tested.code is None and tested.done == 1 and time.perf_counter() - begin < 30


def test_every_variant_is_compiled_once_those_with_tiles_first():
    jobs = warm.jobs(90)
    assert all(kernels.runs_on(defines, 75) for _, defines in warm.jobs(75)) and len(warm.jobs(75)) < len(jobs)
    assert len({warm.in_words(job) for job in jobs}) == len(jobs) and "HALO_TILE" in jobs[0][1]


def test_what_does_not_compile_is_told(tmp_path):
    jobs = [("copy.cu", {"ELEMENT": "nonsense"}), ("copy.cu", {"ELEMENT": "unsigned"})]
    built = warm.build(Device("emulated"), jobs, time.perf_counter() + 60)
    assert built.done == 2 and not built.left_out
    assert len(built.failed) == 1 and built.failed[0].startswith("copy.cu ELEMENT=nonsense: KernelError: ")


def test_what_is_not_compiled_in_time_is_told():
    built = warm.build(Device("emulated"), warm.jobs(90)[:8], time.perf_counter() - 1)
    assert built.done == 0 and 0 < len(built.left_out) <= 8
    assert built.left_out[0].endswith(": no time was left")
