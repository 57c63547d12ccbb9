"""A picture of results: one panel per op, one bar per case and device."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from typing import Any

from bench import report
from gpunet.viz.figure import new_figure, save_figure

COLORS = {"CPU": "#4878a8", "GPU": "#e08a3c"}
COMPUTE_BOUND = 10.0  # operations per byte from which GFLOP/s say more than GB/s
_RATES = {True: ("gflop_per_s", "flops", "GFLOP/s"), False: ("gb_per_s", "bytes", "GB/s")}

# Inches: everything has a fixed size, so that bars are equally thick in all panels and the picture grows with them.
_HEADER, _TITLE, _BAR, _GAP, _TICKS = 0.78, 0.28, 0.22, 0.06, 0.32
_LETTER, _BARS, _RIGHT = 0.062, 4.2, 0.3  # a letter of a case's name

Panel = Sequence[report.Row]


def save(suites: Sequence[report.Suite], path: str | os.PathLike[str]) -> None:
    """Draw all suites into a PNG file, written whole or not at all.

    A bar is the median rate: GFLOP/s where an op computes much per byte, else GB/s. The line on it goes from p90 to
    p10; the text is the median time of a call.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw.
    """
    panels: dict[str, list[report.Row]] = {}
    for row in report.rows(suites):
        panels.setdefault(row.op, []).append(row)
    if not panels:
        raise ValueError("there is nothing to draw: no result from NumPy or CuPy")
    columns = _columns(list(panels.values()))
    names = [max(len(row.case) for panel in column for row in panel) * _LETTER + 0.2 for column in columns]
    width = sum(name + _BARS + _RIGHT for name in names)
    height = _HEADER + max(sum(map(_height, column)) for column in columns)
    figure = new_figure("python -m bench", width, height)
    figure.set_layout_engine("none")  # the axes have their places
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=COLORS[kind], label=_label(kind, texts)) for kind, texts in report.devices(suites).items()
    ]
    handles.append(
        Line2D([], [], color="black", linewidth=1, label="p90 to p10; the text is the median time of a call")
    )
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False)
    left = 0.0
    for name, column in zip(names, columns, strict=True):
        top, left = height - _HEADER, left + name
        for panel in column:
            inside = _height(panel) - _TITLE - _TICKS
            bottom = top - _TITLE - inside
            _draw(figure.add_axes((left / width, bottom / height, _BARS / width, inside / height)), panel)
            top -= _height(panel)
        left += _BARS + _RIGHT
    save_figure(figure, path)


def _label(kind: str, texts: Sequence[str]) -> str:
    """Name what was measured where; of several runs the first stands for all."""
    more = f" (and {len(texts) - 1} other runs)" if len(texts) > 1 else ""
    return f"{kind}: {texts[0] + more if texts else 'not yet measured'}"


def _height(panel: Panel) -> float:
    return _TITLE + _TICKS + sum(_GAP + _BAR * len(row.by_kind) for row in panel) + _GAP


def _columns(panels: list[Panel]) -> list[list[Panel]]:
    """Cut the panels, in order, into two columns of about the same height; one panel makes one column."""
    taller = [max(sum(map(_height, panels[:i])), sum(map(_height, panels[i:]))) for i in range(1, len(panels))]
    middle = taller.index(min(taller)) + 1 if taller else 1
    return [column for column in (panels[:middle], panels[middle:]) if column]


def _draw(axes: Any, panel: Panel) -> None:
    """Draw the bars of one op, the first case on top; the vertical axis is in inches."""
    intensity = statistics.median(r.extra["flops"] / r.extra["bytes"] for row in panel for r in row.by_kind.values())
    rate, work, unit = _RATES[intensity >= COMPUTE_BOUND]
    depth, most, centres = 0.0, 0.0, []
    for row in panel:
        depth += _GAP
        centres.append(depth + _BAR * len(row.by_kind) / 2)
        for kind, result in row.by_kind.items():
            at, amount = depth + _BAR / 2, result.extra[work] / 1e9
            low, high = amount / result.p90, amount / result.p10
            axes.barh(at, result.extra[rate], height=_BAR * 0.85, color=COLORS[kind])
            axes.plot([low, high], [at, at], color="black", linewidth=1)
            axes.annotate(
                report.duration(result.median), (high, at), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
            depth, most = depth + _BAR, max(most, high)
    axes.set_yticks(centres, [row.case for row in panel], fontsize=8)
    axes.set(xlim=(0, 1.17 * most), ylim=(depth + _GAP, 0))
    axes.set_title(panel[0].op, fontsize=10, loc="left", fontweight="bold", pad=4)
    axes.set_title(unit, fontsize=9, loc="right", pad=4)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
