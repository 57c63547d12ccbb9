"""Who takes part: the file that runs it, and how it is installed.

A contestant's module imports its library and offers `make(workload, weights, threads, variant)`: a `Contestant`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Contestant(Protocol):
    """A network of one library, with its optimizer."""

    def put(self, array: npt.NDArray[Any]) -> Any:
        """Make an array of a batch the library's own, in the layout that it likes best."""

    def step(self, x: Any, y: Any) -> float:
        """Train on a batch and return its loss, which waits for all of the work."""

    def predict(self, x: Any) -> npt.NDArray[np.float32]:
        """Return logits (N, classes) in evaluation mode, without a tape."""

    def kernels(self) -> str:
        """Say which vector instructions run."""


@dataclass(frozen=True)
class Entry:
    """A contestant's name, its module here, what must be installed, and a variant that the module knows."""

    name: str
    module: str
    package: str
    pip: str
    variant: str = ""

    def missing(self) -> str | None:
        """Say how to install it where it is not."""
        return None if importlib.util.find_spec(self.package) else f"not installed: pip install {self.pip}"


ENTRIES = (
    Entry("gpunet", "ours", "gpunet", "-e ."),
    Entry("PyTorch", "pytorch", "torch", "torch"),
)
OURS, BASELINE = "gpunet", "PyTorch"  # ratios are to the baseline's medians
