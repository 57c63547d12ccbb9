"""From measurements to result files and a table: CPU beside GPU for the same op and case.

Reads what `pytest bench --benchmark-json=FILE` writes, and result files (schema in `bench/timing.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import timing
from bench.cuda_timer import cuda_events
from gpunet.errors import FormatError

KINDS = {"numpy": "CPU", "cupy": "GPU"}  # the emulator's times say nothing, so nothing else is reported
BUSY = 0.1  # share of the CPUs taken by others from which a row is marked
_NOTED = {"op", "case", "backend", "device", "flops", "bytes", "gflop_per_s", "gb_per_s"}  # what is read below
_COLUMNS = ("median", "p90", "GFLOP/s", "GB/s")


@dataclass(frozen=True)
class Suite:
    """The results of one suite, and when, where and from which commit they were measured."""

    name: str
    where: dict[str, Any]
    results: list[timing.Result]


@dataclass(frozen=True)
class Row:
    """One op and case: its result on the CPU and on the GPU, where there is one."""

    op: str
    case: str
    by_kind: dict[str, timing.Result]

    @property
    def ratio(self) -> float | None:
        """How many times faster the GPU is."""
        if self.by_kind.keys() >= {"CPU", "GPU"}:
            return self.by_kind["CPU"].median / self.by_kind["GPU"].median
        return None


def read(path: str | os.PathLike[str]) -> list[Suite]:
    """Return the suites of a file.

    Raises:
        FormatError: the file is no JSON of a benchmark.
        OSError: it cannot be read.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        if "benchmarks" in content:
            return _from_pytest_benchmark(content)
        if content["schema"] != timing.SCHEMA:
            raise FormatError(f"{path}: schema {content['schema']}, but this reads schema {timing.SCHEMA}")
        where = {key: content[key] for key in ("date", "commit", "machine", "versions")}
        results = [timing.Result(**result) for result in content["results"]]
        if not all(result.extra.keys() >= _NOTED and result.extra["backend"] in KINDS for result in results):
            raise FormatError(
                f"{path}: its results are not from `pytest bench`, which notes {', '.join(sorted(_NOTED))} "
                f"for {' and '.join(KINDS)}"
            )
        return [Suite(content["benchmark"], where, results)]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path}: neither a result file nor what `pytest bench --benchmark-json` writes "
            f"({type(error).__name__}: {error})"
        ) from error


def _from_pytest_benchmark(content: dict[str, Any]) -> list[Suite]:
    """Group what pytest-benchmark measured by suite; its data are seconds per call, one per round."""
    suites: dict[str, list[timing.Result]] = {}
    for benchmark in content["benchmarks"]:
        extra = dict(benchmark["extra_info"])
        if extra["backend"] == "cupy" and benchmark["options"]["timer"] != cuda_events.__name__:
            raise FormatError(f"{benchmark['name']}: the GPU was not timed with its own events, so the times are wrong")
        if extra["backend"] in KINDS:
            name = f"{extra['op']}, {extra['case']}, {extra['backend']}"
            extra["iterations"] = benchmark["stats"]["iterations"]
            suite = suites.setdefault(extra.pop("suite"), [])
            suite.append(timing.summarize(name, benchmark["stats"]["data"], **extra))
    return [Suite(name, content["environment"], results) for name, results in suites.items()]


def rows(suites: Iterable[Suite]) -> list[Row]:
    """Put the results of the same op and case side by side; ops and their cases keep the order in which they come.

    Raises:
        ValueError: two results claim the same place.
    """
    found: dict[tuple[str, str], Row] = {}
    for suite in suites:
        for result in suite.results:
            op, case, backend = (result.extra[key] for key in ("op", "case", "backend"))
            row = found.setdefault((op, case), Row(op, case, {}))
            if KINDS[backend] in row.by_kind:
                raise ValueError(
                    f"{op}, {case} was measured twice on a {KINDS[backend]}\n"
                    "  hint: give one file per suite and device, for example the CPU's of one machine"
                )
            row.by_kind[KINDS[backend]] = result
    ops = list(dict.fromkeys(op for op, _ in found))
    return sorted(found.values(), key=lambda row: ops.index(row.op))


def devices(suites: Sequence[Suite]) -> dict[str, list[str]]:
    """Say for "CPU" and "GPU" what was measured there, when and from which commit; nothing if nothing was."""
    said: dict[str, list[str]] = {kind: [] for kind in KINDS.values()}
    for suite in suites:
        for result in suite.results:
            extra = result.extra
            threads = f", {extra['threads']} threads" if extra.get("threads") else ""
            mark = "+changes" if suite.where["commit"].endswith("+changes") else ""
            day, commit = suite.where["date"][:10], suite.where["commit"][:10] + mark
            text = f"{extra['device']}{threads}; {day}, commit {commit}"
            if text not in said[KINDS[extra["backend"]]]:
                said[KINDS[extra["backend"]]].append(text)
    return said


def table(suites: Sequence[Suite]) -> str:
    """Lay results out as text: a block per op, a row per case."""
    shown = rows(suites)
    said = devices(suites)
    kinds = [kind for kind in KINDS.values() if said[kind]]
    separator = "\n     "
    lines = [f"{kind}: {separator.join(said[kind]) or 'not yet measured'}" for kind in KINDS.values()]
    width = max([len(row.case) for row in shown], default=0) + 4
    titles = " " * width + "".join(f"{kind:>11}".ljust(11 * len(_COLUMNS)) for kind in kinds)
    heads = " " * width + "".join(f"{column:>11}" for _ in kinds for column in _COLUMNS)
    lines += ["", titles.rstrip(), heads + (f"{'CPU/GPU':>10}" if len(kinds) == 2 else "")]
    op = None
    for row in shown:
        if row.op != op:
            op = row.op
            lines.append(op)
        cells = [cell for kind in kinds for cell in _cells(row.by_kind.get(kind))]
        ratio = f"{number(row.ratio):>9}x" if row.ratio else ""
        lines.append((f"  {row.case:{width - 2}}" + "".join(f"{cell:>11}" for cell in cells) + ratio).rstrip())
    if any(_disturbed(result) for row in shown for result in row.by_kind.values()):
        lines += ["", f"! others used more than {BUSY:.0%} of the CPUs meanwhile: measure again on an idle machine"]
    return "\n".join(lines)


def _cells(result: timing.Result | None) -> list[str]:
    if result is None:
        return ["-"] * len(_COLUMNS)
    rates = (number(result.extra[key]) for key in ("gflop_per_s", "gb_per_s"))
    return [("! " if _disturbed(result) else "") + duration(result.median), duration(result.p90), *rates]


def _disturbed(result: timing.Result) -> bool:
    return (result.extra.get("elsewhere") or 0) > BUSY


def duration(seconds: float) -> str:
    """Write a duration with three digits and a unit.

    >>> duration(0.00123456), duration(2.5e-05)
    ('1.23 ms', '25.0 us')
    """
    factor, unit = (1.0, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
    return f"{number(seconds * factor)} {unit}"


def number(value: float) -> str:
    """Write a positive number with three digits, more only before the point.

    >>> number(0.01234), number(1.5), number(12345.6)
    ('0.0123', '1.50', '12346')
    """
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:#.3g}"
