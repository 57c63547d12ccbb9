"""How the time of a step grows with the batch, and what a second thread brings."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench.peers_cpu import rounds, table
from bench.peers_cpu.contestants import BASELINES, ENTRIES, OURS, Entry
from bench.peers_cpu.results import duration
from bench.peers_cpu.workloads import WORKLOADS, Workload
from gpunet.viz.figure import new_figure, save_figure

BATCHES = (16, 32, 64, 128, 256, 512, 1024)
COLORS = {OURS: "#e08a3c", BASELINES[0]: "#4878a8"}
CONTESTANTS = [entry for entry in ENTRIES if entry.name in COLORS]
_TRAINING = {workload.name: workload for workload in WORKLOADS[:3]}


def plan(batches: Sequence[int] = BATCHES) -> list[tuple[Workload, list[Entry]]]:
    """Return what is measured: W2 at several batches, and W1 to W3 at batch 64 with one thread beside two."""
    cnn = _TRAINING["W2"]
    grown: list[tuple[Workload, list[Entry]]] = [
        (replace(cnn, name=f"W2 batch {batch}", title="", batch=batch), CONTESTANTS) for batch in batches
    ]
    both = [replace(e, name=f"{e.name}, {n} thread{'s' * (n > 1)}", threads=n) for e in CONTESTANTS for n in (1, 2)]
    return grown + [(replace(w, name=f"{w.name} threads", batch=64, title=""), both) for w in _TRAINING.values()]


def measure(
    settings: rounds.Settings,
    wanted: Callable[[str], bool],
    names: Sequence[str],
    smoke: bool,
    left_out: dict[str, str],
) -> list[rounds.Measured]:
    """Measure the wanted workloads of the plan, of all contestants or those that are named; or smoke: toy sizes."""
    measured = []
    for workload, entries in plan(BATCHES[:2] if smoke else BATCHES):
        if not wanted(workload.name):
            continue
        chosen = [e for e in entries if not e.missing() and (not names or e.name.partition(",")[0] in names)]
        work = replace(workload, batch=min(workload.batch, 4)) if smoke and "threads" in workload.name else workload
        measured += rounds.measure(work, chosen, settings, left_out)
    return measured


def medians(content: dict[str, Any]) -> tuple[dict[str, dict[int, float]], dict[tuple[str, str], float]]:
    """Return seconds per step by contestant and batch; and by workload and contestant, what a second thread brings."""
    by_batch: dict[str, dict[int, float]] = {}
    by_threads: dict[tuple[str, str], dict[int, float]] = {}
    for result in table.read(content):
        extra, (contestant, _, threads) = result.extra, result.extra["contestant"].partition(", ")
        if threads:
            by_threads.setdefault((extra["workload"].split()[0], contestant), {})[extra["threads"]] = result.median
        else:
            by_batch.setdefault(contestant, {})[extra["images"]] = result.median
    return by_batch, {key: times[1] / times[2] for key, times in by_threads.items() if times.keys() == {1, 2}}


def text(content: dict[str, Any]) -> str:
    """Return both tables for a terminal."""
    lines = [table.label(content)]
    for part in rows(content):
        lines += ["", *(table.aligned(part) if len(part) > 1 else ())]
    lines += [f"left out: {name}: {why}" for name, why in content["left_out"].items()]
    return "\n".join(lines)


def rows(content: dict[str, Any]) -> list[list[list[str]]]:
    """Return the cells of both tables, each with its heads."""
    by_batch, gains = medians(content)
    names, batches = list(by_batch), sorted({batch for times in by_batch.values() for batch in times})
    grown = [["W2, batch", *(f"{name}{what}" for name in names for what in ("", " / image"))]]
    for batch in batches:
        times = [by_batch[name].get(batch, math.nan) for name in names]
        grown.append([str(batch), *(duration(seconds) for t in times for seconds in (t, t / batch))])
    contestants = list(dict.fromkeys(contestant for _, contestant in gains))
    threads = [["1 thread / 2 threads", *contestants]]
    for workload in dict.fromkeys(workload for workload, _ in gains):
        threads.append([workload, *(f"{gains.get((workload, c), math.nan):.2f}" for c in contestants)])
    return [grown, threads]


def save_plot(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw time per image by batch, and the gain of a second thread, into a PNG file.

    Raises:
        ImportError: matplotlib is missing.
    """
    by_batch, gains = medians(content)
    figure = new_figure("python -m bench.peers_cpu scaling", 11, 4)
    left, right = figure.subplots(1, 2)
    for name, times in by_batch.items():
        left.plot(list(times), [t / batch * 1e6 for batch, t in times.items()], "o-", color=COLORS[name], label=name)
    left.set_xscale("log", base=2)
    left.set_ylim(bottom=0)
    left.set(title="W2: microseconds per image", xlabel="batch")
    if by_batch:
        left.legend()
    works = list(dict.fromkeys(workload for workload, _ in gains))
    for shift, name in enumerate(dict.fromkeys(contestant for _, contestant in gains)):
        places = [place + 0.4 * shift for place in range(len(works))]
        heights = [gains.get((workload, name), 0.0) for workload in works]
        right.bar_label(right.bar(places, heights, width=0.38, color=COLORS[name], label=name), fmt="%.2f")
    right.set_xticks([place + 0.2 for place in range(len(works))], works)
    right.axhline(2, color="black", linewidth=0.5)
    right.set(title="Batch 64: time with 1 thread / time with 2 threads", ylim=(0, 2.4))
    if works:
        right.legend(loc="lower right")
    figure.suptitle(table.label(content), fontsize=10)
    save_figure(figure, path)
