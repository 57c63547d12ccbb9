"""Results as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import timing
from bench.peers_cpu.results import duration

COLUMNS = ("contestant", "median", "p10", "/ PyTorch", "clean rounds", "import", "build", "cold step", "peak RSS")


def cells(result: timing.Result) -> tuple[str, ...]:
    """Return a result's entries under COLUMNS."""
    extra = result.extra
    return (
        extra["contestant"],
        duration(result.median),
        duration(result.p10),
        "-" if extra["ratio"] is None else f"{extra['ratio']:.2f}",
        f"{extra['turns'] - extra['contended']} of {extra['turns']}",
        duration(extra["import_s"]),
        duration(extra["build_s"]),
        duration(extra["cold_s"]),
        f"{extra['peak_rss'] / 2**20:.0f} MB",
    )


def read(content: dict[str, Any]) -> list[timing.Result]:
    """Return the results of a file's content."""
    return [timing.Result(**result) for result in content["results"]]


def workloads(found: Sequence[timing.Result]) -> dict[str, list[timing.Result]]:
    """Group results by workload, the fastest first."""
    groups: dict[str, list[timing.Result]] = {}
    for result in found:
        groups.setdefault(result.extra["workload"], []).append(result)
    return {name: sorted(group, key=lambda result: result.median) for name, group in groups.items()}


def table(content: dict[str, Any]) -> str:
    """Return everything that a file says, for a terminal."""
    machine = content["machine"]
    lines = [f"{machine['cpu']}, {content['threads']} threads, {content['leg']} kernels, load {machine['load']:.2f}"]
    for group in workloads(read(content)).values():
        extra = group[0].extra
        losses = ", ".join(f"{loss:.4g}" for loss in extra["losses"])
        lines += ["", f"{extra['workload']}  {extra['title']}; first losses {losses}"]
        rows = [COLUMNS, *map(cells, group)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            aligned = (f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(row))
            lines.append("  " + "  ".join(aligned))
    if content["left_out"]:
        lines += ["", "left out", *(f"  {name}: {why}" for name, why in content["left_out"].items())]
    return "\n".join(lines)
