"""The pages of kernels say what the comments in the sources say, of every kernel, and no speed that none measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from gpunet.backend import kernels
from tools import kernel_comments, kernel_pages, kernel_registers

KERNELS = [name for file in kernels.kernel_files() for name in kernels.load(file).kernels]
OWN = """\
// Sums. A warp reads neighbours, a block all.
// Bound: memory.
#include "common.cuh"

// One thread adds. It adds <two>.
// Traffic: reads x.
//
//   x[0]  x[1]
extern "C" __global__ void __launch_bounds__(64) add(float* y, const float* x) { y[0] = x[0] + x[1]; }
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Put a kernel file in the place of gpunet's own; return a function that writes it."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "common.cuh").write_text("// Shared by all.\n")
    monkeypatch.setattr(kernels, "kernel_dir", lambda: folder)
    monkeypatch.setattr(kernels, "load", kernels.load.__wrapped__)
    return lambda text: (folder / "own.cu").write_text(text)


def result(kernels_launched, wrong=(), dry=False, of_roof=0.61, case="4 x 3"):
    """Return a result file with one row of gpunet."""
    extra = {"family": "memory", "op": "relu forward", "case": case, "precision": "fp32", "contestant": "gpunet"}
    extra |= {"flops": 1, "bytes": 8, "gflop_per_s": 1.0, "gb_per_s": 1.0, "late": 0, "best_peer": None}
    extra |= {"speed_up": None, "of_roof": of_roof, "error": None, "goal": None, "kernels": kernels_launched}
    return {
        "schema": 1,
        "benchmark": "gpu dry run" if dry else "gpu",
        "date": "2026-01-02T03:04",
        "commit": "0123456789abcdef",
        "dry_run": dry,
        "complete": True,
        "gpu": {"name": "emulated" if dry else "GPU X"},
        "left_out": [],
        "wrong": list(wrong),
        "results": [{"name": "", "unit": "s", "median": 2e-6, "p10": 1e-6, "p90": 3e-6, "extra": extra}],
    }


def test_the_pages_are_up_to_date():
    assert kernel_pages.main(["--check"]) == 0, "python -m tools.kernel_pages writes them again"


def test_every_kernel_has_an_entry_and_the_index_leads_to_it():
    pages = kernel_pages.pages()
    headings = {f"{name}#{kernel}" for name, text in pages.items() for kernel in re.findall(r"^## (\w+)$", text, re.M)}
    linked = re.findall(r"^\| \[\w+\]\((\w+\.md#\w+)\)", pages["README.md"], re.M)
    assert sorted(linked) == sorted(headings) and [link.partition("#")[2] for link in linked] == KERNELS
    anchors = {kernel_pages._anchor(heading) for heading in re.findall(r"^## (.+)$", pages["shared.md"], re.M)}
    for name, text in pages.items():
        if name not in ("README.md", "shared.md"):
            assert set(re.findall(r"shared\.md#(\w+)", text)) <= anchors
            assert text.count("- Bound: ") == text.count("- Traffic: ") == len(re.findall("^## ", text, re.M))
            assert "- Launched by: \n" not in text, name


def test_what_comments_say_becomes_markdown():
    said = kernel_comments.comment(
        "    // One < two.\n    // Same.\n    // Bound: this | that.\n    //\n    //   a  <b\n    //  c\n"
    )
    assert said.body == "One \\< two. Same.\n\n```text\n  a  <b\n c\n```"
    assert (said.bound, said.traffic, said.first_sentence) == ("this \\| that.", "", "One \\< two.")


def test_a_kernel_takes_what_its_comment_does_not_say_from_the_file(own):
    own(OWN)
    (entry,) = kernel_comments.entries("own.cu")
    assert (entry.name, entry.comment.bound, entry.comment.traffic) == ("add", "memory.", "reads x.")
    assert entry.comment.body == "One thread adds. It adds \\<two>.\n\n```text\n  x[0]  x[1]\n```"
    assert entry.signature.endswith("__launch_bounds__(64) add(float* y, const float* x)")
    page = kernel_pages.pages()["own.md"]
    assert "\n- Variants that are compiled: 1;" in page and "[common.cuh](shared.md#commoncuh)" in page


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        ("// Bound: memory.\n", '"Bound:"'),
        ("// Traffic: reads x.\n", '"Traffic:"'),
        (" A warp reads neighbours, a block all.", "what a warp does, what a block does"),
        (
            "// One thread adds. It adds <two>.\n// Traffic: reads x.\n//\n//   x[0]  x[1]\n",
            "what it makes, what a thread",
        ),
    ],
)
def test_a_comment_that_says_too_little_stops_all_of_it(own, tmp_path, capsys, line, lacks):
    own(OWN.replace(line, ""))
    assert kernel_pages.main([], tmp_path / "pages") == 1
    assert f"own.cu: the comments on add and on the file do not say {lacks}" in capsys.readouterr().err
    assert not (tmp_path / "pages").exists()


def test_pages_are_written_where_they_differ_and_removed_where_their_file_is_gone(own, tmp_path, capsys):
    own(OWN)
    pages = tmp_path / "pages"
    assert kernel_pages.main([], pages) == 0 and kernel_pages.main(["--check"], pages) == 0
    assert {path.name for path in pages.iterdir()} == {"README.md", "own.md", "shared.md"}
    capsys.readouterr()
    for name in ("gone.md", "own.md", kernel_pages.REGISTERS):
        (pages / name).write_text("old")
    before = {path.name: path.read_text() for path in pages.iterdir()}
    assert kernel_pages.main(["--check"], pages) == 1
    assert capsys.readouterr().out == "out of date: own.md\nout of date: gone.md\n"
    assert {path.name: path.read_text() for path in pages.iterdir()} == before
    assert kernel_pages.main([], pages) == 0 and kernel_pages.main(["--check"], pages) == 0
    assert capsys.readouterr().out == "written: own.md\nremoved: gone.md\n"
    assert (pages / kernel_pages.REGISTERS).read_text() == "old"


def test_no_figure_without_a_result_file_of_a_gpu(tmp_path):
    relu = {"relu_forward": 1}
    wrong = ["relu forward, 4 x 3, fp32: error 1, but at most 1e-05 is right"]
    (tmp_path / "dry.json").write_text(json.dumps(result(relu, dry=True)))
    (tmp_path / "wrong.json").write_text(json.dumps(result(relu, wrong=wrong)))
    for folder in (tmp_path / "none", tmp_path):
        pages = kernel_pages.pages(folder)
        assert pages["README.md"].count("| not yet measured |") == len(KERNELS)
        assert sum(text.count("- On a GPU: not yet measured\n") for text in pages.values()) == len(KERNELS)
        assert not any("of the roof |" in text for text in pages.values())


def test_a_measured_figure_stands_with_the_kernels_that_were_launched_alone(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(result({"relu_forward": 1, "fill": 1})))
    (tmp_path / "b.json").write_text(json.dumps(result({"relu_forward": 1}, of_roof=0.92, case="5 x 3")))
    (tmp_path / "c.json").write_text(json.dumps(result({"cast": 1}, of_roof=None)))
    pages = kernel_pages.pages(tmp_path)
    index = dict(re.findall(r"^\| \[(\w+)\].* \| ([^|]+) \|$", pages["README.md"], re.M))
    figures = {name: figure for name, figure in index.items() if figure != "not yet measured"}
    assert figures == {"relu_forward": "92% of the roof", "fill": "61% of the roof", "cast": "measured"}
    where = "GPU X, 2026-01-02, commit 0123456789"
    assert f"| relu forward, 4 x 3, fp32 | 2.00 us | 61% | `fill` | {where} |" in pages["activation.md"]
    assert f"| relu forward, 5 x 3, fp32 | 2.00 us | 92% |  | {where} |" in pages["activation.md"]
    assert f"| relu forward, 4 x 3, fp32 | 2.00 us | - |  | {where} |" in pages["cast.md"]


def test_registers_are_those_of_the_worst_variant():
    rows = [
        {"file": "a.cu", "kernel": "f", "arch": arch, "registers": r, "shared_bytes": s, "spill_bytes": 0}
        for arch in kernel_registers.ARCHS
        for r, s in ((30, 64), (40, 0))
    ]
    page = kernel_registers.page({"nvrtc": "12.9", "rows": rows})
    assert "NVRTC 12.9" in page and "## a.cu\n" in page
    assert "| kernel | sm_80 | sm_90 | sm_120 |" in page and "\n| f |" + " 40 / 64 / 0 |" * 3 + "\n" in page


def test_the_digest_of_code_ignores_comments_alone(own):
    own(OWN)
    before = kernel_registers.digest()
    own(OWN.replace("It adds <two>.", "It adds two."))
    assert kernel_registers.digest() == before
    own(OWN.replace("x[0] + x[1];", "x[0] - x[1];"))
    assert kernel_registers.digest() != before


@pytest.mark.parametrize("tool", ["kernel_pages", "kernel_registers"])
def test_help_teaches(tool):
    line = [sys.executable, "-m", f"tools.{tool}"]
    shown = subprocess.run([*line, "--help"], capture_output=True, text=True, cwd=kernel_pages.ROOT)
    assert shown.returncode == 0 and f"    python -m tools.{tool}\n" in re.sub(" +write the.*", "", shown.stdout)
    assert subprocess.run([*line, "--nothing"], capture_output=True, cwd=kernel_pages.ROOT).returncode == 2
