"""A picture of a result file: how much faster each row is than its best peer, with its floor and its aim."""

from __future__ import annotations

import os
from typing import Any

from gpunet.viz.figure import new_figure, save_figure

COLORS = {"PASS": "#3a8f5c", "SHORT": "#c8553d", None: "#8a8f98"}
_ROW, _EDGE, _LABELS, _BARS = 0.19, 0.9, 4.6, 5.6  # inches


def save(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Draw all rows into a PNG file, written whole or not at all: one bar per row, on a logarithmic axis.

    A bar is the speed-up over the best peer; where the goal is a share of the copy bandwidth, it is that share. The
    ticks on it are floor and aim.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw.
    """
    bars = [extra for result in content["results"] if (extra := result["extra"])["contestant"] == "gpunet"]
    bars = sorted((extra for extra in bars if _length(extra)), key=lambda extra: (extra["family"], extra["op"]))
    if not bars:
        raise ValueError("there is nothing to draw: no row was measured")
    height = _EDGE + _ROW * len(bars)
    figure = new_figure("python -m bench.gpu", _LABELS + _BARS + 0.3, height)
    figure.set_layout_engine("none")  # the axes have their place
    inside = (_LABELS / (_LABELS + _BARS + 0.3), 0.5 / height, _BARS / (_LABELS + _BARS + 0.3), 1 - _EDGE / height)
    axes = figure.add_axes(inside)
    for at, extra in enumerate(bars):
        goal = extra["goal"] or {}
        axes.barh(at, _length(extra) - 1, left=1, height=0.75, color=COLORS[goal.get("verdict")])
        marks = [goal[mark] for mark in ("floor", "aim") if goal]
        axes.plot(marks, [at] * len(marks), "|", color="black", markersize=8)
    labels = [f"{extra['op']}, {extra['case']}, {extra['precision']}" for extra in bars]
    axes.set_yticks(range(len(bars)), labels, fontsize=7)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", alpha=0.25)
    dry = "DRY RUN, no measurement: " if content["dry_run"] else ""
    name = (content.get("gpu") or {}).get("name", "no GPU")
    axes.set_title(
        f"{dry}{name}, {content['date'][:10]}: speed-up over the best peer;\n"
        "of ops bound by memory: share of the copy bandwidth. | floor, aim",
        fontsize=9,
        loc="left",
    )
    save_figure(figure, path)


def _length(extra: dict[str, Any]) -> float:
    """Return what a row's bar shows; 0 where nothing is known."""
    if extra["goal"]:
        return extra["goal"]["reached"] or 0.0
    return extra["speed_up"] or 0.0
