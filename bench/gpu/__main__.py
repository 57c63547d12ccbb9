"""python -m bench.gpu: on a machine with a GPU, everything at once. Probe, compile, check, time, write."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.gpu import phases, plot, rig, table
from bench.gpu.measure import catalogue
from bench.gpu.rows import Row

EPILOG = """\
phases, in this order:
  probe      GPU, clocks, driver, versions; is compute-sanitizer there?
  warm       compile all kernels in all variants, by several processes
  suite      pytest --backend cupy: the tests that run on the GPU
  sanitizer  some of them under compute-sanitizer
  bench      the roofline, then each op beside PyTorch (cuDNN, cuBLAS) and CuPy in the same run

examples:
  python -m bench.gpu                             everything, within eight minutes
  python -m bench.gpu --out /tmp/gpu              files elsewhere than in bench/results/gpu
  python -m bench.gpu --only bench --budget 240 --out /tmp/gpu
  python -m bench.gpu --only bench -k "conv2d forward" --out /tmp/gpu
  python -m bench.gpu --dry-run                   the same on emulated kernels at toy sizes: does the script work?
  python -m bench.gpu report bench/results/gpu/*.json
  python -m bench.gpu rows conv2d                 names of rows, and their goals
  ncu --set full python -m bench.gpu call "conv2d forward, N64 32->64 26x26 3x3, tf32"

Each phase has a share of the time, and what it leaves goes to the next ones. What a phase does not reach is printed
and stands in the file as `left_out`; what was measured until then is kept. How to read the table: bench/README.md.

exit codes:
  0  all done
  1  nothing could be done or written: no GPU, no room; the message says why
  2  wrong usage
  3  something is wrong: a kernel does not compile, a test fails, the sanitizer finds something, or a result is not
     what it should be (all else was done; files are written)
  4  not complete: time ran out, or a package is missing (files are written)
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description="Check and measure gpunet on this machine's first GPU; write JSON, a table and a plot.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--budget", type=float, default=470, metavar="SECONDS", help="for all phases (default: 470)")
    top.add_argument(
        "--only", action="append", choices=list(phases.SHARES), metavar="PHASE", help="this one; may be given twice"
    )
    top.add_argument("-k", metavar="TEXT", help="of the benchmarks, the rows that have this in their names")
    top.add_argument("--out", type=Path, metavar="DIR", help="where files go (default: bench/results/gpu)")
    top.add_argument("--commit", metavar="NAME", help="what is measured, where the checkout has no .git")
    top.add_argument("--dry-run", action="store_true", help="emulated kernels, toy sizes, no measurement")
    commands = top.add_subparsers(dest="command", metavar="{report,rows,call}", title="without measuring")
    report = commands.add_parser("report", help="print the table of result files")
    report.add_argument("files", nargs="+", type=Path, metavar="FILE")
    report.add_argument("--plot", type=Path, metavar="PNG", help="also draw the last of them")
    rows = commands.add_parser("rows", help="print the names of rows")
    rows.add_argument("text", nargs="?", default="", help="those that have this in their names")
    call = commands.add_parser("call", help="call gpunet for one row, under a profiler")
    call.add_argument("text", help="a part of the row's name that no other has")
    call.add_argument("--times", type=int, default=3, metavar="N", help="calls (default: 3)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "report":
            return _report(options.files, options.plot)
        if options.command == "rows":
            return _rows(catalogue(options.dry_run, options.text))
        if options.command == "call":
            return _call(
                catalogue(options.dry_run, options.text), options.times, rig.dry if options.dry_run else rig.gpu
            )
        if problem := phases.refusal(options):
            parser().error(problem)
        return phases.Run(options).all()
    except KeyboardInterrupt:
        print("python -m bench.gpu: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(f"python -m bench.gpu: {error}", file=sys.stderr)
        return 1


def _report(files: Sequence[Path], picture: Path | None) -> int:
    for path in files:
        content = table.read(path)
        print(table.table(content))
    if picture:
        plot.save(content, picture)
    return 0


def _rows(rows: Sequence[Row]) -> int:
    for row in rows:
        goal = f"{row.goal.measure} {row.goal.floor} ({row.goal.aim})" if row.goal else ""
        print(f"{row!s:70}{goal}".rstrip())
    return 0


def _call(rows: Sequence[Row], times: int, make: Callable[[], rig.Rig]) -> int:
    """Call gpunet alone, on the inputs of the benchmark."""
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows have that in their names, for example\n  {rows[0]}\n  {rows[1]}")
    made = make()
    call = rows[0].setup(made).calls["gpunet"]
    before = Counter(made.be.launched)
    for _ in range(times):
        call()
    made.be.synchronize()
    kernels = ", ".join(f"{count} x {name}" for name, count in (Counter(made.be.launched) - before).items())
    print(f"{rows[0]}: {times} calls, {kernels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
