"""Mutation testing of the kernels: what the tests of a kernel do not notice, they do not prove."""

from __future__ import annotations

import argparse
import functools
import os
import queue
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm

from gpunet.backend import kernels
from gpunet.backend.check import cpus
from tests.full import checks, report
from tests.full.forkserver import ForkServer
from tests.full.mutants import OPERATORS, Mutant, mutants
from tests.full.report import Fate

REQUIRED = 0.97  # of all mutants must be killed

DESCRIPTION = """\
Change one thing in the text of a kernel and see whether its tests notice; do so for each barrier, wait and fence,
comparison, operand of && and ||, index, loop start, zero, condition, + and - in kernels/. A mutant is killed when a
Case or Special that launches its kernel fails: by wrong values or bytes written outside (float32, then the other
dtypes, then inputs with other strides), by other bits in another order of threads, in race mode, or under the address
sanitizer. It also dies of an endless loop.

A survivor is either equivalent to the original, and tests/full/equivalent.toml has the proof, or it shows that a test
is missing: write a Case or Special that kills it.
"""
EPILOG = """\
examples:
  python -m tests.full mutate                          all files; renews tests/full/results/mutation.json
  python -m tests.full mutate --only conv.cu           one file; renews its part of the results
  python -m tests.full mutate --only conv.cu --operator barrier --verbose
  python -m tests.full mutate --sample 100             a quick impression; the results stay as they are

exit codes: 0 at least 97 % are killed and every survivor is argued; 1 not so, or an argument is out of date;
2 wrong usage; 130 interrupted
"""


def add_parser(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "mutate",
        help="change the kernels, one place at a time, and count which changes the tests notice",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", metavar="FILE", help="mutate this file of kernels/; repeatable")
    parser.add_argument("--operator", action="append", choices=list(OPERATORS), help="this kind of change; repeatable")
    parser.add_argument("--sample", type=_positive, metavar="N", help="judge N mutants only, always the same ones")
    parser.add_argument("--jobs", type=_positive, default=cpus(), metavar="N", help="mutants at a time (default: CPUs)")
    parser.add_argument("--verbose", action="store_true", help="print what became of each mutant")
    parser.set_defaults(run=run, parser=parser)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(kernels.kernel_dir().glob("*.cu*"))}
    if unknown := set(options.only or ()) - set(texts):
        options.parser.error(f"there is no {sorted(unknown)[0]} in kernels/; there are {', '.join(texts)}")
    every = {file: mutants(file, text) for file, text in texts.items()}
    proofs, problems = report.read_arguments(mutant for some in every.values() for mutant in some)
    wanted = [m for file in options.only or texts for m in every[file] if m.operator in (options.operator or OPERATORS)]
    if options.sample is not None and options.sample < len(wanted):
        wanted = random.Random(0).sample(wanted, options.sample)
    begin = time.monotonic()
    fates = []
    for fate in judge(texts, wanted, options.jobs):
        fates.append(fate)
        if options.verbose or (fate.verdict == "survived" and report.key(fate.mutant) not in proofs):
            tqdm.write(f"{fate.verdict:9} {fate.stage:9} {fate.mutant}  {' '.join(fate.detail.split())[:160]}")
    fates.sort(key=lambda fate: (fate.mutant.file, fate.mutant.edit))
    parts = {
        file: report.part(texts[file], [fate for fate in fates if fate.mutant.file == file], proofs)
        for file in dict.fromkeys(fate.mutant.file for fate in fates)
    }
    if options.operator is None and options.sample is None:
        parts = report.save(parts, texts, time.monotonic() - begin)
    print("\n".join(report.table(parts, texts)))
    problems += report.killed_though_argued(fates, proofs)
    print("".join(f"\nerror: {problem}" for problem in problems))
    total = report.summary(parts)
    good = total["score"] >= REQUIRED and total["argued"] == total["survived"] and not problems
    return 0 if good else 1


def judge(texts: dict[str, str], wanted: Sequence[Mutant], jobs: int) -> Iterator[Fate]:
    """Judge mutants of these texts, several at a time, with a progress bar. The originals must pass first.

    Raises:
        RuntimeError: the checks fail on the originals, or for a reason that is not the mutant's.
    """
    subjects = {mutant: checks.subjects_of(mutant.file, mutant.where) for mutant in wanted}
    if unseen := [mutant for mutant, numbers in subjects.items() if not numbers]:
        raise RuntimeError(f"no Case or Special launches a kernel that reaches {unseen[0]}")
    used = sorted({number for numbers in subjects.values() for number in numbers})
    with ExitStack() as stack:
        stack.enter_context(_own_cache())
        bench = stack.enter_context(_Bench(jobs))
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, cancel_futures=True)
        for result in pool.map(lambda job: bench.judge(texts, used[job::jobs]), range(jobs)):
            if result["verdict"] != "survived":
                raise RuntimeError(
                    f"unchanged kernels are {result['verdict']} in {result['stage']}: {result['detail']}"
                )

        def one(mutant: Mutant) -> Fate:
            changed = {**texts, mutant.file: mutant.apply(texts[mutant.file])}
            return Fate(mutant, **bench.judge(changed, subjects[mutant], mutant.file, mutant.where))

        waiting = [pool.submit(one, mutant) for mutant in wanted]
        for future in tqdm(as_completed(waiting), total=len(waiting), unit="mutant", smoothing=0.05):
            yield future.result()


@contextmanager
def _own_cache() -> Iterator[None]:
    """Keep what is compiled out of the user's cache."""
    before = os.environ.get("GPUNET_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="gpunet-mutate-") as folder:
        os.environ["GPUNET_CACHE_DIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("GPUNET_CACHE_DIR")
            if before is not None:
                os.environ["GPUNET_CACHE_DIR"] = before


class _Seat:
    """Two fork servers, each started when it is needed: one for all stages but asan, and one for that."""

    fast = functools.cached_property(lambda self: ForkServer("fast"))
    asan = functools.cached_property(lambda self: ForkServer("asan"))


class _Bench:
    """As many seats as there are jobs."""

    def __init__(self, jobs: int) -> None:
        self._seats = [_Seat() for _ in range(jobs)]
        self._free: queue.SimpleQueue[_Seat] = queue.SimpleQueue()
        for seat in self._seats:
            self._free.put(seat)

    def judge(self, texts: dict[str, str], subjects: list[int], changed: str = "", where: str = "") -> dict[str, str]:
        seat = self._free.get()
        try:
            result = seat.fast.judge(texts, subjects, checks.STAGES[:-1], changed, where)
            if result["verdict"] == "survived":
                result = seat.asan.judge(texts, subjects, checks.STAGES[-1:], where=where)
        finally:
            self._free.put(seat)
        if result["verdict"] == "broken":
            raise RuntimeError(
                f"the checks broke in {result['stage']}, which is not the kernel's fault: {result['detail']}"
            )
        return result

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *error: object) -> None:
        for seat in self._seats:
            for server in vars(seat).values():
                server.close()
