"""Plots of a training run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["available", "save_curves"]


def available() -> bool:
    """Say whether matplotlib is installed: pip install matplotlib."""
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def save_curves(metrics: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """Draw losses and test accuracy over the epochs into a PNG file.

    Args:
        metrics: one mapping per epoch: "epoch", "train_loss", "test_loss", "test_accuracy" (a share in [0, 1]).
        path: the file, written whole or not at all.

    Raises:
        ImportError: matplotlib is missing.

    Example:
        >>> import tempfile
        >>> row = {"epoch": 1, "train_loss": 0.3, "test_loss": 0.2, "test_accuracy": 0.97}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_curves([row], Path(folder) / "curves.png")
        ...     (Path(folder) / "curves.png").stat().st_size > 1000
        True
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("save_curves: plots need matplotlib\n  hint: pip install matplotlib") from None
    epochs = [row["epoch"] for row in metrics]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
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
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp")
    figure.savefig(temporary, format="png", dpi=120)
    os.replace(temporary, target)
