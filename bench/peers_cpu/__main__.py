"""python -m bench.peers_cpu: time gpunet beside its peers on this machine's CPU."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import timing
from bench.peers_cpu import contestants, legs, page, plot, results, rounds, scaling, table, workloads
from gpunet.io import write_json, write_text_atomic
from gpunet.viz.figure import available

RESULTS = rounds.ROOT / "bench" / "results" / "peers"
PAGE = rounds.ROOT / "docs" / "cpu.md"

EPILOG = """\
workloads (float32; everybody starts from the same weights and gets the same batches):
{workloads}

contestants: {contestants}

examples:
  python -m bench.peers_cpu --data ~/mnist                   everything that is installed
  python -m bench.peers_cpu --leg avx2 --data ~/mnist        the same with AVX2 instructions only
  python -m bench.peers_cpu scaling                          W2 from batch 16 to 1024; one thread beside two
  python -m bench.peers_cpu table                            print what was measured
  python -m bench.peers_cpu page                             make docs/cpu.md of it
  python -m bench.peers_cpu --only W1,W2 --contestants gpunet,PyTorch --rounds 5 --out /tmp/peers
  python -m bench.peers_cpu --smoke --out /tmp/peers         two steps at toy sizes: does it run?

Each contestant runs in a process of its own. In a round each of them takes steps for half a second, in turn; the order
rotates. Before it, the parent waits until other processes leave the CPUs alone; rounds that were disturbed all the same
are counted. W5 needs MNIST's four idx files, plain or .gz. How to read the table: bench/README.md.

exit codes:
  0  all done; what is not installed is named
  1  nothing could be measured or written; the message says why
  2  wrong usage
  3  losses differ: who computes something else is left out and named; if it is gpunet, nothing is written
  4  a contestant that is installed failed; the others are measured and written
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    names = ", ".join(entry.name for entry in contestants.ENTRIES)
    known = "\n".join(f"  {work.name:14} {work.title}" for work in workloads.WORKLOADS)
    top = argparse.ArgumentParser(
        prog="python -m bench.peers_cpu",
        description="Time gpunet beside its peers on this machine's CPU; print a table, write JSON and a plot.",
        epilog=EPILOG.format(workloads=known, contestants=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default, add = rounds.Settings(), top.add_argument
    add("command", nargs="?", choices=["peers", "scaling", "table", "page"], default="peers", help="default: peers")
    add("--only", type=_names, metavar="W1,W2", help="workloads whose names begin so")
    add("--contestants", type=_names, metavar="NAMES", help="these only, separated by commas")
    add("--rounds", type=int, default=default.rounds, metavar="N", help="of each (default: %(default)s)")
    add("--epochs", type=int, default=default.epochs, metavar="N", help="of each in W5 (default: %(default)s)")
    add("--threads", type=int, default=default.threads, metavar="N", help="default: %(default)s")
    help_wait = "for an idle machine before a round, at most; 0 does not look (default: %(default)g)"
    add("--wait", type=float, default=default.patience, metavar="SECONDS", help=help_wait)
    add("--leg", choices=list(legs.LEGS), default=default.leg, help="instructions (default: %(default)s)")
    add("--data", metavar="DIR", help="folder with MNIST; without it, W5 is left out")
    add("--out", type=Path, metavar="DIR", help="where files are (default: bench/results/peers)")
    add("--page", action="store_true", help="afterwards, make docs/cpu.md of the files in bench/results/peers")
    add("--smoke", action="store_true", help="toy sizes, two steps, no waiting; measures nothing")
    return top


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    top = parser()
    options = top.parse_args(arguments)
    if problem := refusal(options):
        top.error(problem)
    try:
        return run(options)
    except KeyboardInterrupt:
        print("python -m bench.peers_cpu: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"python -m bench.peers_cpu: {error}", file=sys.stderr)
        return 1


def refusal(options: argparse.Namespace) -> str | None:
    """Say what is wrong with the options."""
    known = list(dict.fromkeys(entry.name for entry in (*contestants.ENTRIES, *contestants.LOADERS)))
    for name in options.contestants or ():
        if name not in known:
            return f"--contestants: {name} is none of {', '.join(known)}"
    for name in options.only or ():
        if not any(work.name.startswith(name) for work in workloads.WORKLOADS):
            return f"--only: {name} begins none of {', '.join(work.name for work in workloads.WORKLOADS)}"
    if min(options.rounds, options.epochs, options.threads) < 1:
        return "--rounds, --epochs and --threads: expected a number >= 1"
    if options.smoke or options.only or options.contestants:
        if not options.out:
            return "a part of the run needs --out DIR: bench/results holds whole runs"
        if options.page:
            return "--page shows whole runs only"
    return None


def run(options: argparse.Namespace) -> int:
    """Do what the command says; return the exit code."""
    out = options.out or RESULTS
    if options.command == "table":
        contents = {name: table.load(out / f"{name}.json") for name in _files() if (out / f"{name}.json").exists()}
        for name, content in contents.items():
            print(scaling.text(content) if name == page.SCALING else table.table(content), end="\n\n")
        return 0 if contents else _nothing(f"{out} has no result files")
    code = 0
    if options.command != "page":
        code = measure(options, out)
    if options.page or options.command == "page":
        write_text_atomic(PAGE, page.page(out))
        print(f"written: {PAGE}")
    return code


def _files() -> list[str]:
    return [*legs.FILES.values(), page.SCALING]


def _nothing(why: str) -> int:
    print(f"python -m bench.peers_cpu: {why}", file=sys.stderr)
    return 1


def measure(options: argparse.Namespace, out: Path) -> int:
    """Measure, print and write; return the exit code."""
    settings, scaled = _settings(options), options.command == "scaling"
    where, left_out, failed = timing.environment(), dict[str, str](), dict[str, str]()
    if scaled:
        wanted = functools.partial(_wanted, options)
        measured = scaling.measure(settings, wanted, options.contestants or (), options.smoke, failed)
    else:
        measured = peers(options, settings, left_out, failed)
    if not measured:
        return _nothing("nothing was measured: " + "; ".join(f"{k}: {v}" for k, v in (left_out | failed).items()))
    different = results.disagreements(measured)
    for other, losses in different:
        print(f"{other.workload.name} {other.entry.name}: {losses}", file=sys.stderr)
        left_out[f"{other.workload.name} {other.entry.name}"] = losses
        measured.remove(other)
    if any(other.entry.name.startswith(contestants.OURS) for other, _ in different):
        return 3
    where["versions"] |= {entry.package: entry.version() for entry in contestants.ENTRIES if not entry.missing()}
    del where["machine"]["blas"]  # that of this process; each result names the kernels of its contestant's
    head = {"leg": options.leg, "threads": options.threads, "smoke": options.smoke, "left_out": left_out | failed}
    found = results.results(measured, options.threads)
    content = {**timing.report("peers_cpu scaling" if scaled else "peers_cpu", found, where), **head}
    print(scaling.text(content) if scaled else table.table(content))
    stem, draw = (page.SCALING, scaling.save_plot) if scaled else (legs.FILES[options.leg], plot.save)
    write(content, out / stem, draw)
    return 3 if different else 4 if failed else 0


def _wanted(options: argparse.Namespace, workload: str) -> bool:
    return not options.only or workload.startswith(tuple(options.only))


def _settings(options: argparse.Namespace) -> rounds.Settings:
    settings = rounds.Settings(
        rounds=options.rounds,
        threads=options.threads,
        patience=options.wait,
        leg=options.leg,
        epochs=options.epochs,
        data=str(Path(options.data).resolve()) if options.data else "",
    )
    return replace(settings, rounds=1, epochs=1, seconds=0.0, patience=0.0) if options.smoke else settings


def peers(
    options: argparse.Namespace, settings: rounds.Settings, left_out: dict[str, str], failed: dict[str, str]
) -> list[rounds.Measured]:
    """Measure the workloads that are asked for, and say why others are left out."""
    measured = []
    for work in workloads.WORKLOADS:
        if not _wanted(options, work.name):
            continue
        if work.epoch and not settings.data:
            left_out[work.name] = "no MNIST: --data FOLDER"
            continue
        entries = []
        for entry in contestants.LOADERS if work.epoch else contestants.ENTRIES:
            if options.contestants and entry.name not in options.contestants:
                continue
            if reason := entry.missing() or legs.NOT_IN.get(options.leg, {}).get(entry.name):
                left_out[entry.name] = reason
            else:
                entries.append(entry)
        measured += rounds.measure(workloads.tiny(work) if options.smoke else work, entries, settings, failed)
    return measured


def write(content: dict[str, Any], stem: Path, draw: Callable[[dict[str, Any], Path], None]) -> None:
    """Write a result file and its plot, which is left out where matplotlib is missing."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_json(stem.with_suffix(".json"), content)
    written = f"{stem.name}.json"
    if available():
        draw(content, stem.with_suffix(".png"))
        written += f", {stem.name}.png"
    else:
        print("no plot: pip install matplotlib", file=sys.stderr)
    print(f"\nwritten to {stem.parent}: {written}")


if __name__ == "__main__":
    sys.exit(main())
