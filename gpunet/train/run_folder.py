"""A run folder: the settings, the metrics, the weights and a plot of one training run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpunet import backend, io
from gpunet.nn import Module
from gpunet.viz import curves

__all__ = ["RunFolder"]


class RunFolder:
    """Files of one run; every file is whole at any moment, whenever the run is stopped.

        config.json          the settings
        metrics.jsonl        one JSON object per finished epoch
        model.safetensors    the weights after the last finished epoch
        curves.png           loss and accuracy, where matplotlib is installed

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

    def finish_epoch(self, model: Module, row: Mapping[str, Any]) -> None:
        """Save the weights and the metrics of a finished epoch."""
        self.metrics.append(dict(row))
        tensors = {}
        for name, tensor in model.state_dict().items():
            tensors[name] = backend.of(tensor.array).to_numpy(tensor.array)
        io.save_file(tensors, self.checkpoint, {"epoch": str(row["epoch"]), "model": str(self.config.get("model", ""))})
        io.write_text_atomic(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in self.metrics))
        if curves.available():
            curves.save_curves(self.metrics, self.path / "curves.png")
