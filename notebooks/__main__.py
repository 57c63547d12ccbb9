"""Runs the notebooks: `python -m notebooks` executes every .py of this folder and writes the .ipynb beside it.

The .py files (jupytext's py:percent) are the sources. Each is executed from its first cell in a fresh kernel, with
the top of the checkout as its folder; an .ipynb is written only after its last cell, whole or not at all.

Exit codes: 0 done, 1 a cell failed or an .ipynb is not what its source says, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
EXTRA = ("jupytext", "nbclient", "ipykernel", "matplotlib")
SECONDS_PER_CELL = 300  # a cell that takes longer is stopped: it waits for something
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_OF_THIS_COMPUTER = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|usr|var|opt|mnt|work|Users)/\S*")


def absent() -> list[str]:
    """Return the packages of extra `notebooks` that are not installed."""
    return [name for name in EXTRA if importlib.util.find_spec(name) is None]


def read_source(name: str) -> Any:
    """Return the notebook that a .py file is, without outputs; its cells are numbered."""
    import jupytext
    import nbformat

    notebook = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def execute(notebook: Any) -> None:
    """Run all cells in a fresh kernel and keep their outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message shows it.
    """
    import nbclient
    from traitlets.config import Config

    metadata = dict(notebook.metadata)
    with tempfile.TemporaryDirectory() as sockets:  # files, where the system has such sockets: no port is opened
        transport = {} if os.name == "nt" else {"transport": "ipc", "ip": os.path.join(sockets, "kernel")}
        nbclient.NotebookClient(
            notebook,
            kernel_name="python3",
            config=Config(KernelManager=transport),
            timeout=SECONDS_PER_CELL,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(FOLDER.parent)}},
        ).execute()
    notebook.metadata = metadata  # without the version of this Python


def faults(name: str) -> Iterator[str]:
    """Yield what is wrong with a committed .ipynb: it is not its source's, not executed, or names local paths."""
    import nbformat

    path = FOLDER / f"{name}.ipynb"
    if not path.is_file():
        yield "is missing"
        return
    committed, source = nbformat.read(path, as_version=4), read_source(name)
    if _sources(committed) != _sources(source):
        yield f"has other cells than {name}.py"
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "was not executed from its first cell to its last"
    for cell in code:
        for text in _texts(cell.outputs):
            yield from (f"names a path of the computer that ran it: {path}" for path in _OF_THIS_COMPUTER.findall(text))
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"holds an error: {cell.source}"


def _sources(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _texts(outputs: Any) -> Iterator[str]:
    for output in outputs:
        yield output.get("text", "")
        yield from (value for kind, value in output.get("data", {}).items() if kind.startswith("text/"))


def run(name: str, write: bool) -> None:
    """Execute one notebook, write it if asked to, and say how long it took."""
    import nbformat

    from gpunet.io import write_text_atomic

    before, started = _cpu_seconds(), time.perf_counter()
    notebook = read_source(name)
    execute(notebook)
    wall, cpu = time.perf_counter() - started, _cpu_seconds() - before
    print(f"{name}: {wall:.1f} s, {cpu:.1f} s of CPU time", flush=True)
    if write:
        write_text_atomic(FOLDER / f"{name}.ipynb", nbformat.writes(notebook) + "\n")


def _cpu_seconds() -> float:
    """Return the CPU time of this process's children that have ended: the kernels, and the compilers they ran."""
    times = os.times()
    return times.children_user + times.children_system


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description="Execute the notebooks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; compare with the .ipynb files that are here"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if lacking := absent():
        print(f'{", ".join(lacking)} not installed\n  hint: pip install ".[notebooks]"', file=sys.stderr)
        return 1
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    code = 0
    for name in options.names or NAMES:
        try:
            run(name, write=not options.check)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            print(f"{name}.py: a cell failed.\n{_COLOUR.sub('', str(error))}", file=sys.stderr)
            code = 1
        else:
            for fault in faults(name):
                print(f"{name}.ipynb {fault}\n  hint: python -m notebooks {name}", file=sys.stderr)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
