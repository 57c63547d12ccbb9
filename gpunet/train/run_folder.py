"""A run folder: the settings, the metrics, the weights and the plots of one training run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend, io, viz
from gpunet.nn import Conv2d, Module

__all__ = ["RunFolder"]


class RunFolder:
    """Files of one run; every file is whole at any moment, whenever the run is stopped.

        config.json          the settings
        metrics.jsonl        one JSON object per finished epoch
        model.safetensors    the weights after the last finished epoch

    and, where matplotlib is installed:

        curves.png           loss and accuracy over the epochs
        confusion.png        the test set: which class was taken for which
        filters.png          the filters of the first convolution, if there is one

    Args:
        path: the folder; it is made, and must not hold a run already.
        config: the settings, as JSON values.

    Raises:
        FileExistsError: the folder holds a run already.
        OSError: the folder cannot be made or written.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.config = dict(config)
        self.metrics: list[dict[str, Any]] = []
        if (self.path / "config.json").exists():
            raise FileExistsError(f"{self.path} holds a run already\n  hint: choose another folder with --out")
        self.path.mkdir(parents=True, exist_ok=True)
        io.write_json(self.path / "config.json", self.config)

    @property
    def checkpoint(self) -> Path:
        """The file with the weights."""
        return self.path / "model.safetensors"

    def finish_epoch(self, model: Module, row: Mapping[str, Any], confusion: npt.NDArray[np.int64]) -> None:
        """Save the weights, the metrics and the plots of a finished epoch.

        Args:
            model: whose weights are saved.
            row: the metrics, as `viz.save_curves` takes them.
            confusion: (C, C) of the test set, from `viz.confusion_matrix`.
        """
        tensors = {}
        for name, tensor in model.state_dict().items():
            tensors[name] = backend.of(tensor.array).to_numpy(tensor.array)
        io.save_file(tensors, self.checkpoint, {"epoch": str(row["epoch"]), "model": str(self.config.get("model", ""))})
        self.metrics.append(dict(row))
        self.save_metrics()
        if viz.available():
            self._save_plots(model, confusion)

    def save_metrics(self) -> None:
        """Save the metrics of the epochs whose weights are saved; an interrupt may fall between the two."""
        io.write_text_atomic(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.metrics))

    def _save_plots(self, model: Module, confusion: npt.NDArray[np.int64]) -> None:
        viz.save_curves(self.metrics, self.path / "curves.png")
        if confusion.size:
            viz.save_confusion(confusion, self.path / "confusion.png")
        first = next((module for module in model.modules() if isinstance(module, Conv2d)), None)
        if first is not None:
            viz.save_filters(first.weight, self.path / "filters.png")
