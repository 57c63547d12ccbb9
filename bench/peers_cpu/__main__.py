"""python -m bench.peers_cpu: time gpunet beside its peers on this machine's CPU."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import timing
from bench.peers_cpu import contestants, results, rounds, table, workloads
from gpunet.io import write_json

RESULTS = rounds.ROOT / "bench" / "results" / "peers"

EPILOG = """\
workloads (float32; everybody starts from the same weights and gets the same batches):
{workloads}

contestants: {contestants}

examples:
  python -m bench.peers_cpu                                  everything that is installed
  python -m bench.peers_cpu --only W1,W2 --contestants gpunet,PyTorch --rounds 5 --out /tmp/peers
  python -m bench.peers_cpu --smoke --out /tmp/peers         two steps at toy sizes: does it run?

Each contestant runs in a process of its own. In a round each of them takes steps for half a second, in turn; the order
rotates. Before it, the parent waits until other processes leave the CPUs alone; rounds that were disturbed all the same
are counted. How to read the table: bench/README.md.

exit codes:
  0  all done
  1  nothing could be measured or written; the message says why
  2  wrong usage
  3  losses differ: somebody computes something else; nothing is written
  4  a contestant that is installed failed; the others are measured and written
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    names = ", ".join(entry.name for entry in contestants.ENTRIES)
    known = "\n".join(f"  {work.name:4} {work.title}" for work in workloads.WORKLOADS)
    top = argparse.ArgumentParser(
        prog="python -m bench.peers_cpu",
        description="Time gpunet beside its peers on this machine's CPU; print a table, write JSON.",
        epilog=EPILOG.format(workloads=known, contestants=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = rounds.Settings()
    top.add_argument("--only", type=_names, metavar="W1,W2", help="workloads whose names begin so")
    top.add_argument("--contestants", type=_names, metavar="NAMES", help="these only, separated by commas")
    top.add_argument("--rounds", type=int, default=default.rounds, metavar="N", help="of each (default: %(default)s)")
    top.add_argument("--threads", type=int, default=default.threads, metavar="N", help="default: %(default)s")
    top.add_argument(
        "--wait", type=float, default=default.patience, metavar="SECONDS",
        help="for an idle machine before a round, at most; 0 does not look (default: %(default)g)",
    )  # fmt: skip
    top.add_argument("--out", type=Path, metavar="DIR", help="where files go (default: bench/results/peers)")
    top.add_argument("--smoke", action="store_true", help="toy sizes, two steps, no waiting; measures nothing")
    return top


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    top = parser()
    options = top.parse_args(arguments)
    if problem := _refusal(options):
        top.error(problem)
    try:
        return run(options)
    except KeyboardInterrupt:
        print("python -m bench.peers_cpu: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError) as error:
        print(f"python -m bench.peers_cpu: {error}", file=sys.stderr)
        return 1


def _refusal(options: argparse.Namespace) -> str | None:
    """Say what is wrong with the options."""
    known = [entry.name for entry in contestants.ENTRIES]
    for name in options.contestants or ():
        if name not in known:
            return f"--contestants: {name} is none of {', '.join(known)}"
    for name in options.only or ():
        if not any(work.name.startswith(name) for work in workloads.WORKLOADS):
            return f"--only: {name} begins none of {', '.join(work.name for work in workloads.WORKLOADS)}"
    if options.rounds < 1 or options.threads < 1:
        return "--rounds and --threads: expected a number >= 1"
    if (options.smoke or options.only or options.contestants) and not options.out:
        return "a part of the run needs --out DIR: bench/results holds whole runs"
    return None


def run(options: argparse.Namespace) -> int:
    """Measure, print and write; return the exit code."""
    left_out: dict[str, str] = {}
    entries = []
    for entry in contestants.ENTRIES:
        if options.contestants and entry.name not in options.contestants:
            continue
        if reason := entry.missing():
            left_out[entry.name] = reason
        else:
            entries.append(entry)
    settings = rounds.Settings(rounds=options.rounds, threads=options.threads, patience=options.wait)
    if options.smoke:
        settings = rounds.Settings(rounds=1, seconds=0.0, threads=options.threads, patience=0.0)
    where, failed = timing.environment(), dict[str, str]()
    measured: list[rounds.Measured] = []
    for work in workloads.WORKLOADS:
        if not options.only or any(work.name.startswith(name) for name in options.only):
            measured += rounds.measure(workloads.tiny(work) if options.smoke else work, entries, settings, failed)
    if not measured:
        raise ValueError("nothing was measured: " + "; ".join(f"{k}: {v}" for k, v in (left_out | failed).items()))
    if different := results.disagreements(measured):
        print("\n".join(different), file=sys.stderr)
        return 3
    head = {"leg": "native", "threads": options.threads, "smoke": options.smoke, "left_out": left_out | failed}
    found = results.results(measured, options.threads)
    content: dict[str, Any] = {**timing.report("peers_cpu", found, where), **head}
    print(table.table(content))
    out = options.out or RESULTS
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "cpu.json", content)
    print(f"\nwritten to {out}: cpu.json")
    return 4 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
