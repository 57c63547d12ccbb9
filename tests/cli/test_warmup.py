"""`gpunet warmup`: what it compiles, what it leaves, what it says."""

from __future__ import annotations

import pytest

from gpunet.backend import cubins, cupy, kernels, nvrtc
from gpunet.cli import warmup
from gpunet.cli.main import main
from tests.harness.backends import missing


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Warm up two files only: one on tensor cores, one of the shortest."""
    if reason := nvrtc.unavailable():
        missing("emulated", reason)
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernels, "kernel_files", lambda: ["cast.cu", "gemm_tiled.cu"])
    monkeypatch.setattr(kernels, "variants", lambda file: TWO[file])
    return tmp_path / "cubins"


TWO = {
    "cast.cu": [{"REAL": "float", "TO": "half"}, {"REAL": "half", "TO": "float"}],
    "gemm_tiled.cu": [{"REAL": "float", "TILE": "64,64,128,32,32"}],
}


def test_every_variant_is_compiled_once(folder, capsys):
    assert main(["doctor"]) == 0
    assert "ok warmup            no kernel is compiled ahead" in capsys.readouterr().out
    assert main(["warmup", "--arch", "75,90", "--quiet"]) == 0
    found = sorted(path.name.rsplit("-", 2)[0] for path in folder.iterdir())
    assert found == ["cast-sm_75"] * 2 + ["cast-sm_90"] * 2 + ["gemm_tiled-sm_90"]  # an sm_75 has no such cores
    assert "5 variants for sm_75, sm_90: 5 compiled, 0 were there; " in capsys.readouterr().out
    assert main(["doctor"]) == 0
    assert "ok warmup            5 variants of kernels compiled ahead, " in capsys.readouterr().out
    for file, variants in TWO.items():
        for defines in variants:
            path = cubins.find(kernels.load(file), defines, 90, nvrtc.version())
            assert path is not None and path.read_bytes()[:4] == b"\x7fELF"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(["warmup", "--arch", "sm_90", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "3 variants for sm_90: 0 compiled, 3 were there; " in out and f" MB in {folder}; " in out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.filterwarnings("ignore:.*is not used")
def test_what_is_damaged_is_compiled_again(folder, capsys):
    assert main(["warmup", "--arch", "90", "--quiet"]) == 0
    path = next(folder.glob("cast-*"))
    code = path.read_bytes()
    path.write_bytes(code[:100])
    capsys.readouterr()
    assert main(["warmup", "--arch", "90", "--quiet"]) == 0
    assert "1 compiled, 2 were there" in capsys.readouterr().out
    assert path.read_bytes() == code  # the same text gives the same code


def test_all_variants_of_all_files_are_meant():
    jobs = warmup._jobs([75, 90])
    tiled = sum(
        not kernels.runs_on(defines, 75) for file in kernels.kernel_files() for defines in kernels.variants(file)
    )
    assert tiled and len(jobs) == 2 * sum(len(kernels.variants(file)) for file in kernels.kernel_files()) - tiled


def test_a_kernel_that_does_not_compile_is_an_error_after_the_others(folder, monkeypatch, capsys):
    broken = kernels.parse("cast.cu", '#line 1 "cast.cu"\nextern "C" __global__ void f(int* x) { x[0] = y; }')
    load = kernels.load
    monkeypatch.setattr(kernels, "load", lambda file: broken if file == "cast.cu" else load(file))
    assert main(["warmup", "--arch", "90", "--quiet"]) == 1
    shown = capsys.readouterr()
    assert 'identifier "y" is undefined' in shown.err and "1 variants for sm_90: 1 compiled" in shown.out


def test_without_a_gpu_architectures_must_be_given(folder, monkeypatch, capsys):
    monkeypatch.setattr(cupy, "unavailable", lambda: "CuPy is not installed")
    assert main(["warmup"]) == 1
    message = capsys.readouterr().err
    assert "there is no GPU here to compile for." in message and "hint: give --arch 80,90" in message


def test_the_gpus_here_are_the_default(folder, monkeypatch, capsys):
    monkeypatch.setattr(cupy, "unavailable", lambda: None)
    monkeypatch.setattr(cupy, "archs", lambda: [80, 90])
    assert main(["warmup", "--quiet"]) == 0
    assert "6 variants for sm_80, sm_90: 6 compiled" in capsys.readouterr().out


def test_what_cannot_be_is_one_message(folder, monkeypatch, capsys):
    assert main(["warmup", "--arch", "33"]) == 1
    assert "does not compile for [33]; it does for" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["warmup", "--arch", "H100"])
    assert stop.value.code == 2
    folder.parent.joinpath("cubins").write_text("a file")
    assert main(["warmup", "--arch", "90", "--quiet"]) == 1
    assert str(folder) in capsys.readouterr().err
    monkeypatch.setattr(nvrtc, "unavailable", lambda: "NVRTC is not installed: pip install it")
    assert main(["warmup", "--arch", "90"]) == 1
    assert "NVRTC is not installed" in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["warmup", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "examples:" in text and "--arch 80,90" in text and "container image" in text
