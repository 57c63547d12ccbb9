"""Plots of a training run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.viz.figure import new_figure, save_figure

__all__ = ["save_curves"]


def save_curves(metrics: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw losses and test accuracy over the epochs into a PNG file.

    Args:
        metrics: one mapping per epoch: "epoch", "train_loss", "test_loss", "test_accuracy" (a share in [0, 1]).
        path: the file, written whole or not at all.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written; an old one is intact.

    Example:
        >>> import pathlib, tempfile
        >>> row = {"epoch": 1, "train_loss": 0.3, "test_loss": 0.2, "test_accuracy": 0.97}
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "curves.png"
        >>> save_curves([row], path)
        >>> path.stat().st_size > 1000
        True
    """
    figure = new_figure("save_curves", 8, 3.2)
    epochs = [row["epoch"] for row in metrics]
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(epochs, [row["train_loss"] for row in metrics], "o-", label="training")
    loss.plot(epochs, [row["test_loss"] for row in metrics], "o-", label="test")
    loss.set(xlabel="epoch", ylabel="cross entropy [nats]", ylim=(0, None))
    loss.legend()
    accuracy.plot(epochs, [100 * row["test_accuracy"] for row in metrics], "o-", color="tab:green")
    accuracy.set(xlabel="epoch", ylabel="test accuracy [%]")
    for axes in (loss, accuracy):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    save_figure(figure, path)
