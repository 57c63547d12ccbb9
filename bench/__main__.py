"""python -m bench: measure, then write result files, a table and a plot."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import plot, report, timing
from gpunet import backend
from tests.harness.backends import required

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

EPILOG = """\
examples:
  python -m bench                                   all suites, on NumPy and on the GPU where there is one; two minutes
  python -m bench --wait 600                        the same, when the machine has been idle for three seconds
  python -m bench -k "conv and forward" --out /tmp/conv
  python -m bench report bench/results/*.json       a table of results that are there
  python -m bench report cpu.json gpu.json --plot both.png

On a GPU machine, run `python -m bench.gpu` first: it checks everything and compares with PyTorch and CuPy.
What is measured and how to read it: bench/README.md. Exit codes: 0 done, 1 error, 2 wrong usage, else pytest's.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m bench",
        description="Run `pytest bench`, then write one result file per suite, print a table and draw a plot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--backend", action="append", choices=list(report.KINDS), help="measure this one only; may be given twice"
    )
    top.add_argument("-k", metavar="EXPRESSION", help="measure benchmarks whose names match, as in pytest")
    top.add_argument("--out", type=Path, metavar="DIR", help="where files go (default for all suites: bench/results)")
    top.add_argument(
        "--wait", type=float, default=0, metavar="SECONDS", help="wait for an idle machine, at most this long"
    )
    commands = top.add_subparsers(dest="command", metavar="report FILE...", title="without measuring")
    only = commands.add_parser("report", help="print a table of result files, or of pytest-benchmark's JSON")
    only.add_argument("files", nargs="+", type=Path, metavar="FILE")
    only.add_argument("--plot", type=Path, metavar="PNG", help="also draw a plot")
    return top


def measure(options: argparse.Namespace) -> int:
    """Run pytest in a process of its own and report what it measured."""
    if options.wait and not timing.wait_until_idle(options.wait):
        print(
            f"the machine was not idle for three seconds within {options.wait:g} s: nothing measured", file=sys.stderr
        )
        return 1
    cupy = "cupy" in required() or not backend.unavailable("cuda")
    chosen = options.backend or [name for name in report.KINDS if name != "cupy" or cupy]
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder, "measured.json")
        command = [sys.executable, "-m", "pytest", "bench", "--benchmark-quiet", f"--benchmark-json={measured}"]
        command += [f"--backend={name}" for name in chosen] + (["-k", options.k] if options.k else [])
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if not measured.exists():
            print("python -m bench: pytest measured nothing", file=sys.stderr)
            return code or 1
        suites = report.read(measured)
    print(report.table(suites))
    if code:
        print("python -m bench: pytest failed, so nothing is written", file=sys.stderr)
        return code
    out = options.out or RESULTS
    for suite in suites:
        timing.save(out / f"{suite.name}.json", suite.name, suite.results, suite.where)
    plot.save(suites, out / "bench.png")
    print(f"\nwritten to {out}: bench.png, {', '.join(f'{suite.name}.json' for suite in suites)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "report":
            suites = [suite for path in options.files for suite in report.read(path)]
            print(report.table(suites))
            if options.plot:
                plot.save(suites, options.plot)
            return 0
        if (options.k or options.backend) and not options.out:
            parser().error("a part of the suites needs --out DIR: bench/results holds whole runs")
        return measure(options)
    except (OSError, ValueError, ImportError) as error:
        print(f"python -m bench: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
