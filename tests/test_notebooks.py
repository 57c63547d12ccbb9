"""The notebooks execute from their sources, and the committed .ipynb files are what these say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpunet import emulator
from notebooks import __main__ as tool
from tests.harness.backends import missing

ROOT = Path(__file__).resolve().parent.parent
jupyter = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of its libraries
SMALL = "# %% [markdown]\n# # Title\n\n# %%\nprint(6 * 7)\n"


@pytest.fixture
def extra():
    if tool.absent():
        missing("notebooks", f"{', '.join(tool.absent())} not installed (extra `notebooks`)")


@pytest.fixture
def folder(extra, tmp_path, monkeypatch):
    """Return a folder that stands in for notebooks/, with one small source."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "small.py").write_text(SMALL)
    monkeypatch.setattr(tool, "FOLDER", folder)
    monkeypatch.setattr(tool, "NAMES", ["small"])
    return folder


@pytest.mark.parametrize("name", tool.NAMES)
def test_notebook_executes_and_the_committed_one_has_its_cells(name, extra):
    if "emulator" in (ROOT / "notebooks" / f"{name}.py").read_text() and emulator.unavailable():
        missing("emulated", emulator.unavailable())
    command = [sys.executable, "-m", "notebooks", "--check", name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(rf"{name}: [\d.]+ s, [\d.]+ s of CPU time\n", result.stdout)


@pytest.mark.parametrize("name", tool.NAMES)
def test_notebook_is_in_the_table_and_shows_figures(name, extra):
    assert f"[{name}]({name}.ipynb)" in (ROOT / "notebooks" / "README.md").read_text()
    assert (ROOT / "notebooks" / f"{name}.ipynb").read_text().count('"image/png"') >= 2


@jupyter
def test_a_notebook_is_written_with_its_outputs(folder):
    assert tool.main([]) == 0
    text = (folder / "small.ipynb").read_text()
    assert '"42\\n"' in text and "# Title" in text
    assert sorted(path.name for path in folder.iterdir()) == ["small.ipynb", "small.py"]
    assert list(tool.faults("small")) == []


@jupyter
def test_a_cell_that_fails_is_shown_and_leaves_the_old_notebook(folder, capsys):
    (folder / "small.ipynb").write_text("old")
    (folder / "small.py").write_text("# %%\nassert 6 * 7 == 41, 'wrong'\n")
    assert tool.main(["small"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("small.py: a cell failed.") and "AssertionError: wrong" in error
    assert (folder / "small.ipynb").read_text() == "old"


@jupyter
def test_a_check_writes_nothing_and_fails_on_another_notebook(folder, capsys):
    assert tool.main(["--check"]) == 1
    assert "small.ipynb is missing\n  hint: python -m notebooks small" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["small.py"]


def committed(folder, change):
    """Write an executed notebook whose only code cell was changed."""
    import nbformat

    notebook = tool.read_source("small")
    cell = notebook.cells[1]
    cell.execution_count = 1
    cell.outputs = [nbformat.v4.new_output("stream", text="42\n")]
    change(cell)
    (folder / "small.ipynb").write_text(nbformat.writes(notebook))
    return list(tool.faults("small"))


def output(kind, **fields):
    import nbformat

    return [nbformat.v4.new_output(kind, **fields)]


def test_faults_of_a_committed_notebook_are_named(folder):
    assert list(tool.faults("small")) == ["is missing"]
    assert committed(folder, lambda cell: None) == []
    assert committed(folder, lambda cell: cell.update(source="print(42)")) == ["has other cells than small.py"]
    assert committed(folder, lambda cell: cell.update(execution_count=None)) == [
        "was not executed from its first cell to its last"
    ]
    error = output("error", ename="ValueError", evalue="", traceback=[])
    assert committed(folder, lambda cell: cell.update(outputs=error)) == ["holds an error: print(6 * 7)"]


@pytest.mark.parametrize("path", ["/home/me/x.py", "/tmp/a", "/root/b.so"])
def test_paths_of_the_computer_are_faults(folder, path):
    for outputs in (
        output("stream", text=f"File {path}, line 3"),
        output("execute_result", data={"text/plain": f"'{path}'"}, execution_count=1),
    ):
        (fault,) = committed(folder, lambda cell, outputs=outputs: cell.update(outputs=outputs))
        assert fault.startswith(f"names a path of the computer that ran it: {path}")


def test_addresses_and_fractions_are_no_paths(folder):
    text = "https://example.org/home/x 3/tmp and/or a.b/usr/c"
    assert committed(folder, lambda cell: cell.update(outputs=output("stream", text=text))) == []


def test_unknown_names_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["nothing"])
    assert stop.value.code == 2 and "there is no notebook nothing; there are" in capsys.readouterr().err


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(tool, "EXTRA", ("argparse", "no_such_package"))
    assert tool.main([]) == 1
    assert capsys.readouterr().err == 'no_such_package not installed\n  hint: pip install ".[notebooks]"\n'
