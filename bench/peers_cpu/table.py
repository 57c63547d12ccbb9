"""Results as lines of text."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import timing
from bench.peers_cpu.legs import LEGS
from bench.peers_cpu.results import duration
from gpunet.errors import FormatError

COLUMNS = ("contestant", "median", "p10", "/ PyTorch", "images/s", "clean", "import", "build", "cold step", "peak RSS")


def cells(result: timing.Result) -> tuple[str, ...]:
    """Return a result's entries under COLUMNS."""
    extra = result.extra
    return (
        extra["contestant"],
        duration(result.median),
        duration(result.p10),
        "-" if extra["ratio"] is None else f"{extra['ratio']:.2f}",
        f"{extra['images'] / result.median:,.0f}",
        f"{extra['turns'] - extra['contended']} of {extra['turns']}",
        duration(extra["import_s"]),
        duration(extra["build_s"]),
        duration(extra["cold_s"]),
        f"{extra['peak_rss'] / 1e6:.0f} MB",
    )


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a result file.

    Raises:
        FormatError: it is none of `python -m bench.peers_cpu`.
        OSError: it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        ours = content["schema"] == timing.SCHEMA and content["benchmark"].startswith("peers_cpu")
    except (ValueError, KeyError, TypeError, AttributeError):
        ours = False
    if not ours:
        raise FormatError(f"{path}: not a result file of `python -m bench.peers_cpu`")
    return content


def read(content: dict[str, Any]) -> list[timing.Result]:
    """Return the results of a file's content."""
    return [timing.Result(**result) for result in content["results"]]


def workloads(found: Sequence[timing.Result]) -> dict[str, list[timing.Result]]:
    """Group results by workload, the fastest first."""
    groups: dict[str, list[timing.Result]] = {}
    for result in found:
        groups.setdefault(result.extra["workload"], []).append(result)
    return {name: sorted(group, key=lambda result: result.median) for name, group in groups.items()}


def label(content: dict[str, Any]) -> str:
    """Name the CPU, and which part of it is used."""
    return f"{content['machine']['cpu']}, {content['threads']} threads, instructions: {LEGS[content['leg']]}"


def table(content: dict[str, Any]) -> str:
    """Return everything that a file says, for a terminal."""
    load = content["machine"]["load"]
    lines = [label(content) + ("" if load is None else f"; load before: {load:.2f}")]
    if content["smoke"]:
        lines.append("SMOKE: toy sizes, nothing is measured")
    for group in workloads(read(content)).values():
        extra = group[0].extra
        losses = ", ".join(f"{loss:.4g}" for loss in extra["losses"])
        lines += ["", f"{extra['workload']}  {extra['title']}; first losses {losses}"]
        lines += [f"  {line}" for line in aligned([COLUMNS, *map(cells, group)])]
    if content["left_out"]:
        lines += ["", "left out", *(f"  {name}: {why}" for name, why in content["left_out"].items())]
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(row)) for row in rows
    ]
