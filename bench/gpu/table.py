"""The table of a result file: per row gpunet beside the best peer, the roofline, and the goal."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import timing
from bench.report import duration, number
from gpunet.errors import FormatError

BENCHMARKS = ("gpu", "gpu dry run")
FAMILIES = {
    "roof": "roofline: what this GPU reaches",
    "conv": "convolution",
    "gemm": "matrix products",
    "memory": "bound by memory",
}
LATE = 0.1  # share of rounds from which a row is marked: the host could not queue fast enough
_HEAD = (
    f"{'':58}{'gpunet':>10}{'p10':>10}{'p90':>10}{'best peer':>12}{'speed-up':>9}{'rate':>16}{'roof':>7}{'error':>9}"
    f"{'floor':>7}{'aim':>6}{'reached':>9}"
)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        FormatError: it is no file of `python -m bench.gpu`.
        OSError: it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["schema"] != timing.SCHEMA or content["benchmark"] not in BENCHMARKS:
            raise KeyError("benchmark")
        table(content)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: no result file of `python -m bench.gpu` ({error!r})") from None
    return content


def table(content: dict[str, Any]) -> str:
    """Lay out all rows, then the count of goals, then what was left out."""
    return "\n".join([*_heading(content), *_families(content), *_goals(content), *_left_out(content)])


def _heading(content: dict[str, Any]) -> Iterator[str]:
    if content["dry_run"]:
        yield "DRY RUN: emulated kernels, toy sizes, a clock that pretends. Nothing here is a measurement."
    gpu = content.get("gpu") or {}
    yield f"{gpu.get('name', 'no GPU')}; {content['date'][:10]}, commit {content['commit'][:10]}"
    if not content["complete"]:
        yield "NOT COMPLETE: see what was left out, at the end"
    yield ""


def _families(content: dict[str, Any]) -> Iterator[str]:
    for family, title in FAMILIES.items():
        results = [result for result in content["results"] if result["extra"]["family"] == family]
        if not results:
            continue
        yield title
        if family == "roof":
            yield from (_roof_line(result) for result in results)
        else:
            yield _HEAD
            yield from _rows(results)
        yield ""


def _roof_line(result: dict[str, Any]) -> str:
    extra = result["extra"]
    what = f"  {extra['op']} {extra['case']} {extra['precision']}, {extra['contestant']}"
    return f"{what:58}{duration(result['median']):>10}{_rate(extra):>15}"


def _rows(results: list[dict[str, Any]]) -> Iterator[str]:
    by_row = {
        (r["extra"]["op"], r["extra"]["case"], r["extra"]["precision"], r["extra"]["contestant"]): r for r in results
    }
    ours = sorted((key for key in by_row if key[3] == "gpunet"), key=lambda key: key[0])
    for op, case, precision, _ in ours:
        result = by_row[op, case, precision, "gpunet"]
        extra = result["extra"]
        peer = by_row.get((op, case, precision, extra["best_peer"]))
        goal = extra["goal"] or {}
        cells = (
            f"  {op:24} {case:25} {precision:5}",
            f"{('! ' if extra['late'] > LATE else '') + duration(result['median']):>10}",
            f"{duration(result['p10']):>10}{duration(result['p90']):>10}",
            f"{duration(peer['median']) if peer else '-':>12}",
            f"{_times(extra['speed_up']):>9}{_rate(extra):>16}{_percent(extra['of_roof']):>7}",
            f"{'-' if extra['error'] is None else format(extra['error'], '.1e'):>9}",
            f"{goal.get('floor', '-'):>7}{goal.get('aim', '-'):>6}",
            f"{_times(goal.get('reached')):>9}  {goal.get('verdict', '')}",
        )
        yield "".join(cells).rstrip()


def _rate(extra: dict[str, Any]) -> str:
    """Return operations per second where a call makes many per byte, else bytes per second."""
    if extra["flops"] > 10 * extra["bytes"]:
        return f"{number(extra['gflop_per_s'] / 1e3)} TF/s"
    return f"{number(extra['gb_per_s'])} GB/s"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _goals(content: dict[str, Any]) -> Iterator[str]:
    goals = [result["extra"].get("goal") for result in content["results"]]
    reached = [goal for goal in goals if goal and goal["reached"] is not None]
    verdicts = Counter(goal["verdict"] for goal in reached)
    aims = sum(goal["reached"] >= goal["aim"] for goal in reached)
    passed, short = verdicts["PASS"], verdicts["SHORT"]
    yield f"goals: {passed} of {len(reached)} rows reach the floor, {aims} the aim, {short} are short"


def _left_out(content: dict[str, Any]) -> Iterator[str]:
    for title, lines in (("wrong", content["wrong"]), ("left out", content["left_out"])):
        if lines:
            yield f"\n{title}:"
            yield from (f"  {line}" for line in lines)
