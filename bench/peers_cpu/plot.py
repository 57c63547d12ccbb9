"""A picture of results: a panel per workload, a bar per contestant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bench import timing
from bench.peers_cpu.contestants import BASELINES, OURS
from bench.peers_cpu.results import duration
from bench.peers_cpu.table import label, read, workloads
from gpunet.viz.figure import new_figure, save_figure

COLORS = {OURS: "#e08a3c", **dict.fromkeys(BASELINES, "#4878a8")}
OTHERS = "#9db4cc"
_BAR, _PANEL, _COLUMN = 0.24, 0.75, 6.0  # inches


def save(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw the medians of a result file into a PNG file, written whole or not at all.

    Raises:
        ImportError: matplotlib is missing.
    """
    groups = workloads(read(content))
    most = max(map(len, groups.values()))
    rows = -(-len(groups) // 2)
    figure = new_figure("python -m bench.peers_cpu", 2 * _COLUMN, 0.5 + rows * (_PANEL + most * _BAR))
    for axes, group in zip(figure.subplots(rows, 2, squeeze=False).flat, groups.values(), strict=False):
        _draw(axes, group)
    for axes in list(figure.axes)[len(groups) :]:
        axes.set_visible(False)
    figure.suptitle(f"Time of a step on {label(content)}; log scale, line from p10 to p90", fontsize=11)
    save_figure(figure, path)


def _draw(axes: Any, group: Sequence[timing.Result]) -> None:
    """Draw a workload, the fastest on top."""
    names = [result.extra["contestant"] for result in group]
    places = range(len(group))
    axes.barh(places, [r.median * 1e3 for r in group], color=[COLORS.get(name, OTHERS) for name in names], height=0.8)
    for place, result in zip(places, group, strict=True):
        axes.plot([result.p10 * 1e3, result.p90 * 1e3], [place, place], color="black", linewidth=1)
        ratio = "" if result.extra["ratio"] is None else f"  {result.extra['ratio']:.2f} of PyTorch"
        text, at = duration(result.median) + ratio, (result.p90 * 1e3, place)
        axes.annotate(text, at, (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(r.p10 for r in group) * 1e3 / 2, max(r.p90 for r in group) * 1e3 * 8)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(f"{group[0].extra['workload']}  {group[0].extra['title']}", fontsize=9, loc="left")
    axes.set_xlabel("ms", fontsize=8, loc="right", labelpad=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
