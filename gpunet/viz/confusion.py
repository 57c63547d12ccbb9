"""Confusion matrices: which class is taken for which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.errors import DTypeError, ShapeError, layout_message
from gpunet.viz.figure import host, new_figure, save_figure

__all__ = ["confusion_matrix", "draw_confusion", "recall", "save_confusion"]


def confusion_matrix(targets: Any, predictions: Any, num_classes: int | None = None) -> npt.NDArray[np.int64]:
    """Count how often each class was predicted for each true class.

        counts[i, j] = number of examples of class i that were predicted as class j

    Args:
        targets: (N,) class indices: a Tensor, an array of any backend, or a list.
        predictions: (N,) class indices.
        num_classes: C; None takes the largest index + 1.

    Returns:
        (C, C) int64 on the host.

    Raises:
        ShapeError: targets and predictions are not of the same length, or not one-dimensional.
        DTypeError: they are not integers.
        ValueError: an index is negative, or not below num_classes.

    Example:
        >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2])
        array([[1, 1, 0],
               [0, 1, 0],
               [0, 0, 1]])
    """
    rows, columns = host(targets), host(predictions)
    if rows.ndim != 1 or rows.shape != columns.shape:
        expected = f"(N,) and (N,), got {rows.shape} and {columns.shape}"
        raise ShapeError(_message("targets and predictions do not fit together.", expected))
    for name, indices in (("targets", rows), ("predictions", columns)):
        if indices.size and indices.dtype.kind not in "iu":
            raise DTypeError(_message(f"{name} are not class indices.", f"integers, got {indices.dtype}"))
    rows, columns = rows.astype(np.int64), columns.astype(np.int64)
    largest = max(rows.max(initial=-1), columns.max(initial=-1))
    size = int(largest) + 1 if num_classes is None else num_classes
    if largest >= size or min(rows.min(initial=0), columns.min(initial=0)) < 0:
        wrong = next(index for index in np.concatenate([rows, columns]).tolist() if not 0 <= index < size)
        raise ValueError(_message("a class index is out of range.", f"0 to {size - 1}, got {wrong}"))
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


def recall(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return for each class the share of its examples that were predicted right.

        recall[i] = counts[i, i] / sum_j counts[i, j]

    Args:
        counts: (C, C), from `confusion_matrix`.

    Returns:
        (C,) in [0, 1], NaN for a class without examples.

    Example:
        >>> recall(np.array([[3, 1], [0, 2]])).tolist()
        [0.75, 1.0]
    """
    examples = counts.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    np.divide(np.diagonal(counts), examples, out=shares, where=examples > 0)
    return shares


def draw_confusion(axes: Any, counts: npt.NDArray[Any], classes: Sequence[str] | None = None) -> None:
    """Draw a confusion matrix into matplotlib axes: hits in green, mistakes in red, the recall at the right.

    The redder a mistake, the more often it was made; a 0 is left blank.

    Args:
        axes: matplotlib axes; what is in them stays.
        counts: (C, C), from `confusion_matrix`.
        classes: names of the classes; None writes the indices.

    Raises:
        ShapeError: counts is not square, or classes has another length.

    Example:
        >>> from matplotlib.figure import Figure
        >>> axes = Figure().subplots()
        >>> draw_confusion(axes, np.array([[3, 1], [0, 2]]))
        >>> [text.get_text() for text in axes.texts]
        ['3', '1', '2', '75.0 %', '100.0 %', 'recall']
    """
    size = len(counts)
    names = [str(index) for index in range(size)] if classes is None else list(classes)
    if counts.shape != (size, size) or len(names) != size or not size:
        expected = f"(C, C) and C classes, got {counts.shape} and {len(names)}"
        raise ShapeError(layout_message("draw_confusion", "counts and classes do not fit together.", expected=expected))
    shares = recall(counts)
    axes.imshow(_colours(counts, shares), interpolation="nearest")
    for row, column in zip(*np.nonzero(counts), strict=True):
        weight = "bold" if row == column else "normal"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=9, weight=weight)
    for row, share in enumerate(shares):
        text = "none" if np.isnan(share) else f"{100 * share:.1f} %"
        axes.text(size - 0.35, row, text, ha="left", va="center", fontsize=9, color="0.25")
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.set_xticks(np.arange(0.5, size - 1), minor=True)
    axes.set_yticks(np.arange(0.5, size - 1), minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="predicted", ylabel="true class")
    axes.annotate(
        "recall", (1, 1), xytext=(3, 4), textcoords="offset points", xycoords="axes fraction", fontsize=9, color="0.25"
    )


def save_confusion(
    counts: npt.NDArray[Any], path: str | os.PathLike[str], classes: Sequence[str] | None = None
) -> None:
    """Draw a confusion matrix into a PNG file; see `draw_confusion`.

    Args:
        counts: (C, C), from `confusion_matrix`.
        path: the file, written whole or not at all.
        classes: names of the classes; None writes the indices.

    Raises:
        ImportError: matplotlib is missing.
        ShapeError: as in `draw_confusion`.
        OSError: the file cannot be written; an old one is intact.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "confusion.png"
        >>> save_confusion(np.array([[3, 1], [0, 2]]), path)
        >>> path.stat().st_size > 1000
        True
    """
    side = 1.6 + 0.42 * len(counts)
    figure = new_figure("save_confusion", side + 0.6, side)
    axes = figure.subplots()
    draw_confusion(axes, counts, classes)
    total, right = int(counts.sum()), int(np.trace(counts))
    axes.set_title(f"{right:,} of {total:,} right, {total - right:,} wrong", fontsize=10, pad=16)
    save_figure(figure, path)


def _colours(counts: npt.NDArray[Any], shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (C, C, 3): white to green for hits by recall, white to red for mistakes by their number."""
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    strength = np.sqrt(mistakes / max(mistakes.max(), 1))  # the root, so that single mistakes can be seen
    np.fill_diagonal(strength, np.nan_to_num(shares))
    white, green, red = np.ones(3), np.array([0.55, 0.80, 0.55]), np.array([0.95, 0.50, 0.45])
    full = np.where(np.eye(len(counts), dtype=bool)[..., None], green, red)
    return white + strength[..., None] * (full - white)


def _message(problem: str, expected: str) -> str:
    return layout_message("confusion_matrix", problem, expected=expected)
