"""From what was measured to results: medians, ratios to PyTorch, whether losses agree, where gpunet loses."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench import timing
from bench.peers_cpu.contestants import BASELINE, OURS
from bench.peers_cpu.rounds import Measured

AGREE = 1e-3  # relative distance of losses that are the same


def results(measured: Sequence[Measured], threads: int) -> list[timing.Result]:
    """Return one result per workload and contestant; `extra["ratio"]` is to PyTorch's median, where it took part."""
    baselines = {m.workload.name: statistics.median(m.times) for m in measured if m.entry.name == BASELINE}
    found = []
    for m in measured:
        baseline = baselines.get(m.workload.name)
        extra = {
            "workload": m.workload.name,
            "title": m.workload.title,
            "contestant": m.entry.name,
            "ratio": statistics.median(m.times) / baseline if baseline else None,
            "threads": threads,
            "turns": m.rounds,
            "contended": m.contended,
            **m.facts,
        }
        found.append(timing.summarize(f"{m.workload.name} {m.entry.name}", m.times, **extra))
    return found


def disagreements(measured: Sequence[Measured]) -> list[str]:
    """Name the contestants whose first losses are not those of PyTorch, or of the first contestant without it."""
    found = []
    for workload in dict.fromkeys(m.workload.name for m in measured):
        group = sorted((m for m in measured if m.workload.name == workload), key=lambda m: m.entry.name != BASELINE)
        expected = group[0].facts["losses"]
        for m in group[1:]:
            if not all(abs(a - b) <= AGREE * abs(b) for a, b in zip(m.facts["losses"], expected, strict=True)):
                found.append(
                    f"{workload}: the losses of {m.entry.name} are {_losses(m.facts['losses'])}, "
                    f"those of {group[0].entry.name} {_losses(expected)}"
                )
    return found


def _losses(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def losing(found: Sequence[timing.Result]) -> list[str]:
    """Say of each workload who is faster than gpunet, and by how much, the fastest first."""
    lines = []
    for ours in (result for result in found if result.extra["contestant"] == OURS):
        workload = ours.extra["workload"]
        ahead = [r for r in found if r.extra["workload"] == workload and r.median < ours.median]
        lines += [
            f"{workload}: {r.extra['contestant']} takes {r.median / ours.median:.2f} of gpunet's time "
            f"({duration(r.median)} and {duration(ours.median)})"
            for r in sorted(ahead, key=lambda r: r.median)
        ]
    return lines


def duration(seconds: float) -> str:
    """Write a time with three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
