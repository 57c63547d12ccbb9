"""`gpunet kernels`: on gpunet's own kernels, and on files with planted faults."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gpunet import emulator
from gpunet.backend import kernels, nvrtc
from gpunet.cli.kernels import checking
from gpunet.cli.main import main
from tests.harness.backends import missing

FINE = """// launch: saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)
#include "scale.cuh"
extern "C" __global__ void __launch_bounds__(64) saxpy(float* y, const float* __restrict__ x, float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * SCALE * x[i];
}
"""
FAULTY = """// launch: reverse<<<1, 256>>>(x=float[256])
extern "C" __global__ void reverse(float* x) {
    __shared__ float s[256];
    s[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = s[255 - threadIdx.x];
}
// launch: past<<<4, 64>>>(y=float[200], n=200)
extern "C" __global__ void past(float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1;
}
extern "C" __global__ void alone(int* y) {}
"""
SPILLS = """extern "C" __global__ void __launch_bounds__(1024, 2) spills(float* x) {
    float a[64];
    for (int i = 0; i < 64; ++i) a[i] = x[i * 77 + threadIdx.x];
    for (int k = 0; k < 9; ++k) for (int i = 0; i < 64; ++i) a[i] = a[i] * a[(i * 7 + k) % 64] + x[k];
    for (int i = 0; i < 64; ++i) x[i * 99 + threadIdx.x] = a[i];
}
"""
# An sm_75 holds 1024 threads: the assembler cannot keep 2 x 1024, so that 46 registers are no spill but too many.
EXCEEDS = """extern "C" __global__ void __launch_bounds__(1024, 2) exceeds(float* x) {
    float a[40];
    _Pragma("unroll") for (int i = 0; i < 40; ++i) a[i] = x[i * 77 + threadIdx.x];
    __syncthreads();
    _Pragma("unroll") for (int i = 0; i < 40; ++i) x[i * 99 + threadIdx.x] = a[i] + a[39 - i];
}
"""
TYPED = """#ifndef REAL
#error "define REAL"
#endif
extern "C" __global__ void twice(REAL* x) { x[threadIdx.x] *= 2; }
"""
BROKEN = '\nextern "C" __global__ void f(float* x) {\n    x[0] = y;\n}\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder with kernel files."""
    for name, text in {"fine": FINE, "faulty": FAULTY, "spills": SPILLS, "exceeds": EXCEEDS, "typed": TYPED}.items():
        (tmp_path / f"{name}.cu").write_text(text)
    (tmp_path / "broken.cu").write_text(BROKEN)
    (tmp_path / "scale.cuh").write_text("#pragma once\n#define SCALE 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Run `gpunet kernels`; return exit code, output, and what is said of an error."""

    def run(*arguments):
        code = main(["kernels", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture
def compiler():
    if nvrtc.unavailable():
        missing("emulated", nvrtc.unavailable())


@pytest.fixture
def cpu():
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())


def test_list_shows_every_kernel_of_gpunet(call):
    code, out, _ = call("list")
    assert code == 0
    for file in kernels.kernel_files():
        assert f"\n{file}" in f"\n{out}"
        for kernel in kernels.load(file).kernels.values():
            assert f"  {kernel.name} " in out and ", ".join(map(str, kernel.parameters)) in out
    assert "conv.cu   REAL: float, double, half, bfloat16" in out and "bounds 256" in out


def test_list_shows_somebodys_file(call, folder):
    code, out, _ = call("list", "fine.cu", "typed.cu")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        "fine.cu",
        "saxpy bounds 64 float* y, const float* x, float a, int n",
        "launch: saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)",
        "typed.cu REAL: ?",
        "twice no bounds REAL* x",
    ]
    facts = json.loads(call("list", "--json", "fine.cu")[1])
    assert facts[0]["kernels"][0] == {
        "name": "saxpy",
        "launch_bounds": "64",
        "parameters": ["float* y", "const float* x", "float a", "int n"],
    }


def test_compile_shows_what_gpunets_kernels_use(call, compiler, folder):
    code, out, _ = call("compile", "arithmetic.cu", "copy.cu", "--arch", "75,sm_90", "-D", "REAL=half")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    names = list(kernels.load("arithmetic.cu").kernels)
    assert rows[0] == ["kernel", "variant", "limit", "shared", "75", "90"]
    assert [row[0] for row in rows if row[1:2] == ["REAL=half"]] == names
    widths = len(kernels.MACRO_VALUES["ELEMENT"])
    copies = list(kernels.load("copy.cu").kernels)
    assert [out.count(f"\n{name} ") for name in copies] == [widths] * len(copies)
    found = len(names) + len(copies)
    assert rows[-1][:3] == [str(found), "kernels,", str(2 * (len(names) + len(copies) * widths))]
    assert "all compile, none spills" in out


def test_compile_shows_kernels_without_a_plain_name_too(call, compiler, tmp_path):
    file = tmp_path / "mixed.cu"
    file.write_text(
        "__global__ void mangled(float* x) { x[0] = 1; }\n" + 'extern "C" __global__ void plain(float* x) {}\n'
    )
    code, out, _ = call("compile", str(file), "--arch", "90")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["kernel", "plain", "_Z7mangledPf", "2"]


def test_compile_writes_json(call, compiler, folder):
    code, out, _ = call("compile", "typed.cu", "-D", "REAL=float", "-D", "REAL=double", "--arch", "80", "--json")
    found = json.loads(out)
    assert code == 0 and found["nvrtc"] == nvrtc.version()
    assert [row["defines"] for row in found["rows"]] == [{"REAL": "float"}, {"REAL": "double"}]
    row = found["rows"][0]
    assert (row["file"], row["kernel"], row["arch"], row["problem"]) == ("typed.cu", "twice", 80, "")
    assert (row["spill_bytes"], row["register_limit"], row["max_threads"]) == (0, 255, None) and row["registers"] > 0


def test_compile_fails_on_spills_and_on_too_many_registers(call, compiler, folder):
    code, out, _ = call("compile", "spills.cu", "fine.cu", "--arch", "90")
    assert code == 1
    assert "spills for sm_90: spills " in out and "bytes of registers to memory" in out and "32!" in out
    assert out.splitlines()[-1].endswith(": 1 problems")
    code, out, _ = call("compile", "exceeds.cu", "--arch", "75")
    assert code == 1 and "above the limit of 32 for 1024 threads x 2 blocks" in out


def test_compile_shows_errors_with_file_and_line_once(call, compiler, folder):
    code, out, _ = call("compile", "broken.cu", "fine.cu", "--arch", "75,90")
    assert code == 1
    assert 'broken.cu for sm_75, sm_90: does not compile:\nbroken.cu:3: error: identifier "y" is undefined' in out
    assert out.count("is undefined") == 1 and "\nsaxpy " in out
    assert out.splitlines()[1].split() == ["broken.cu", "0", "x", "x"]


ERRORS = [
    (["compile", "gone.cu"], "gone.cu: the file cannot be read: No such file"),
    (["compile", "typed.cu"], "typed.cu: the file needs the macro REAL."),
    (["compile", "conv.cu", "-D", "REAL=int"], "conv.cu: there is no such variant.\n  expected REAL: float, double"),
    (["compile", "-D", "BRICK=3"], "gpunet's kernels have no macro BRICK"),
    (["compile", "fine.cu", "--arch", "1"], "does not compile for [1]"),
    (["check", "gone.cu"], "gone.cu: the file cannot be read"),
    (
        ["check", "typed.cu", "-D", "REAL=float"],
        "typed.cu: how its kernels are launched is not known.\n  // launch: twice",
    ),
    (["check", "typed.cu", "--launch", "twice<<<1, 1>>>(x=REAL[1])"], "typed.cu: the file needs the macro REAL."),
    (
        ["check", "fine.cu", "--launch", "saxpy<<<4>>>()"],
        "--launch: this is not a launch.\n  saxpy<<<4>>>()\n           ^",
    ),
    (["check", "fine.cu", "--launch", "saxpi<<<4, 64>>>()"], "--launch: there is no kernel 'saxpi'."),
    (["check", "fine.cu", "--launch", "saxpy<<<4, 64>>>(y=float[1])"], "the argument x, a, n is missing."),
    (["check", "fine.cu", "--launch", "saxpy<<<4, 65>>>(y=null, x=null, a=1, n=1)"], "launch bounds, got 65"),
    (["check", "broken.cu", "--launch", "f<<<1, 1>>>(x=float[1])"], "broken.cu:3:12: error:"),
    (["check", "--launch", "f<<<1, 1>>>()"], "need a kernel file"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[" ".join(arguments) for arguments, _ in ERRORS])
def test_mistakes_are_one_message(call, compiler, cpu, folder, arguments, message):
    code, out, err = call(*arguments)
    assert (code, out) == (1, "") and err.startswith("gpunet: KernelError: ") and message in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["compile", "--arch", "x"],
        ["compile", "-D", "3=4"],
        ["check", "--seed", "x"],
        ["check", "--seed", "-1"],
        ["check", "--timeout", "0"],
        ["draw"],
    ],
    ids=str,
)
def test_wrong_usage_is_exit_code_2(call, arguments):
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    assert stop.value.code == 2


def test_check_passes_a_good_file(call, cpu, folder):
    code, out, _ = call("check", "fine.cu")
    assert code == 0
    assert out.splitlines() == [
        "saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)",
        *(f"  {mode:<11}PASS" for mode in ("race", "bounds", "schedules")),
        "launches: 1, findings: 0",
    ]


def test_the_kernel_of_the_readme_passes(call, cpu, compiler, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (tmp_path / "saxpy.cu").write_text(re.search(r"```cuda\n(.*?)```", readme, re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ gpunet kernels (.*?) +#", readme, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["check", "compile"]
    for command in commands:
        assert call(*command.split())[0] == 0, command


def test_check_finds_planted_faults(call, cpu, folder):
    code, out, _ = call("check", "faulty.cu", "--json")
    found = json.loads(out)
    assert code == 1 and found["not_checked"] == ["alone"]
    race, past = (result["findings"] for result in found["results"])
    assert "race in shared memory reverse::s" in race["race"] and "faulty.cu:4" in race["race"]
    assert race["bounds"] is None and "order of threads" in race["schedules"]
    assert past["bounds"].endswith("after the end of y (800 bytes) at faulty.cu:10")
    launch = "past<<<4, 64>>>(y=float[201], n=200)"  # given so, it is alone, and fits
    code, out, _ = call("check", "faulty.cu", "--launch", launch)
    assert code == 0 and out.startswith(launch) and "not checked, for want of a launch: reverse, alone" in out


def test_check_notes_bank_conflicts_which_are_no_finding(call, cpu, tmp_path, monkeypatch):
    (tmp_path / "column.cu").write_text(
        "// launch: column<<<1, 32>>>(y=float[32])\n"
        'extern "C" __global__ void __launch_bounds__(32) column(float* y) {\n'
        "    __shared__ float s[1024];\n"
        "    s[threadIdx.x * 32] = y[threadIdx.x];\n"
        "    __syncthreads();\n"
        "    y[threadIdx.x] = s[threadIdx.x * 32];\n}\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("check", "column.cu")
    assert code == 0
    notes = [line for line in out.splitlines() if line.startswith("  note ")]
    assert notes == [
        f"  note       column: {access}: 32-way bank conflicts (32 wavefronts instead of 1)"
        for access in ("write of 4 bytes at column.cu:4", "read of 4 bytes at column.cu:6")
    ]
    code, out, _ = call("check", "column.cu", "--json")
    assert code == 0 and json.loads(out)["results"][0]["bank_conflicts"] == [note[13:] for note in notes]


def test_check_without_a_file_runs_a_training_step(call, cpu):
    code, out, _ = call("check")
    assert code == 0
    for name in ("direct_forward", "direct_backward_weight", "gemm", "cross_entropy_backward", "sgd_step"):
        assert next(line for line in out.splitlines() if line.startswith(f"{name} ")).split()[1:] == ["PASS"] * 3
    assert "not launched by it: " in out and "proven by the test suite: pytest tests/kernels" in out


def test_a_training_step_that_does_not_end_is_a_finding(call, cpu):
    code, out, _ = call("check", "--timeout", "0.001")
    assert code == 1 and "race: it did not end in time" in out and "PASS" not in out


def test_a_finding_in_a_training_step_is_shown(call, monkeypatch):
    def child(module, job, mode):
        finding = {"race": "gemm: race at gemm.cu:7"}.get(mode)
        answer = {"bank_conflicts": ["gemm: slow"]} if mode == "banks" else {"finding": finding}
        return [{"kernels": ["gemm", "fill"], **answer}], "heap-buffer-overflow" if mode == "bounds" else None

    monkeypatch.setattr(checking, "run_in_child", child)
    code, out, _ = call("check")
    assert code == 1 and "race: gemm: race at gemm.cu:7\nbounds: heap-buffer-overflow" in out
    assert out.endswith("pytest tests/kernels\nnote: gemm: slow\n")
    assert next(line for line in out.splitlines() if line.startswith("gemm ")).split()[1:] == ["-", "-", "PASS"]
    code, out, _ = call("check", "--json")
    found = json.loads(out)
    assert code == 1 and found["bank_conflicts"] == ["gemm: slow"]
    assert found["findings"]["schedules"] is None and found["covered"]["schedules"] == ["fill", "gemm"]


@pytest.mark.parametrize("action", ["", "list", "compile", "check"])
def test_help_teaches(call, action, capsys):
    with pytest.raises(SystemExit) as stop:
        call(*filter(None, [action]), "--help")
    out = capsys.readouterr().out
    assert stop.value.code == 0 and f"examples:\n  gpunet kernels {action}" in out
