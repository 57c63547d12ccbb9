"""From what was measured to results: medians, ratios to PyTorch, whether losses agree, where gpunet loses."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from bench import timing
from bench.peers_cpu.contestants import BASELINES, OURS
from bench.peers_cpu.rounds import Measured

START = ("import_s", "build_s", "cold_s")
AGREE = 1e-3  # relative distance of losses that are the same


def results(measured: Sequence[Measured], threads: int) -> list[timing.Result]:
    """Return one result per workload and contestant; `extra["ratio"]` is to PyTorch's median, where it took part."""
    baselines: dict[str, float] = {}
    for m in measured:
        if m.entry.name in BASELINES:
            baselines[m.workload.name] = min(statistics.median(m.times), baselines.get(m.workload.name, math.inf))
    found = []
    for m in measured:
        baseline = baselines.get(m.workload.name)
        extra = {
            "workload": m.workload.name,
            "title": m.workload.title,
            "contestant": m.entry.name,
            "ratio": statistics.median(m.times) / baseline if baseline else None,
            "threads": m.entry.threads or threads,
            "images": m.facts["epochs"][-1]["images"] if m.workload.epoch else m.workload.batch,
            "turns": m.rounds,
            "contended": m.contended,
            **m.facts,
        }
        found.append(timing.summarize(f"{m.workload.name} {m.entry.name}", m.times, **extra))
    return found


def disagreements(measured: Sequence[Measured]) -> list[tuple[Measured, str]]:
    """Return whose first losses are not those of PyTorch, or of the first contestant without it; and what they are."""
    found = []
    for workload in dict.fromkeys(m.workload.name for m in measured):
        group = [m for m in measured if m.workload.name == workload]
        group.sort(key=lambda m: m.entry.name not in BASELINES)
        expected = group[0].facts["losses"]
        for m in group[1:]:
            if not all(abs(a - b) <= AGREE * abs(b) for a, b in zip(m.facts["losses"], expected, strict=True)):
                losses = f"its first losses are {_losses(m.facts['losses'])}"
                found.append((m, f"{losses}, those of {group[0].entry.name} {_losses(expected)}"))
    return found


def _losses(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


# What can be lost: the words for it, how it is read from a result, and how it is written.
_MEASURES: tuple[tuple[str, Callable[[timing.Result], float], Callable[[float], str]], ...] = (
    ("time of a step", lambda r: r.median, lambda value: duration(value)),
    ("start: import, build, first step", lambda r: sum(r.extra[k] for k in START), lambda value: duration(value)),
    ("peak memory", lambda r: r.extra["peak_rss"], lambda value: f"{value / 1e6:.0f} MB"),
)


def losing(found: Sequence[timing.Result]) -> list[str]:
    """Say of each workload who needs less than gpunet, of what and by how much, the best first."""
    lines = []
    for ours in (result for result in found if result.extra["contestant"] == OURS):
        others = [result for result in found if result.extra["workload"] == ours.extra["workload"]]
        for what, read, write in _MEASURES:
            least = read(ours)
            ahead = sorted((read(r) / least, r.extra["contestant"], read(r)) for r in others if read(r) < least)
            if ahead:
                peers = ", ".join(f"{name} {ratio:.2f} ({write(value)})" for ratio, name, value in ahead)
                lines.append(f"{ours.extra['workload']}, {what}: gpunet 1 ({write(least)}), {peers}")
    return lines


def duration(seconds: float) -> str:
    """Write a time with three digits."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 999.5:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds < 99.95 else f"{seconds:.0f} s"
