"""Who takes part: the file that runs it, and how it is installed.

A contestant's module imports its library and offers `make(workload, weights, threads, variant)`: a `Contestant`.
Those that load data offer `make_epochs(workload, weights, threads, variant, folder)` too: `epochs.Epochs`.
This file imports nothing that a library would rather load itself, NumPy above all.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
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
        """Say which vector instructions or which compiler runs."""


@dataclass(frozen=True)
class Entry:
    """A contestant's name, its module here, what must be installed, and a variant that the module knows."""

    name: str
    module: str
    package: str
    pip: str
    variant: str = ""
    compiler: str = ""  # a program that it needs
    threads: int = 0  # instead of those that are asked for

    def missing(self) -> str | None:
        """Say how to install it where it is not."""
        if not importlib.util.find_spec(self.package):
            return f"not installed: pip install {self.pip}"
        if self.compiler and not shutil.which(self.compiler):
            return f"needs {self.compiler} on the PATH"
        return None

    def version(self) -> str:
        """Return the version that is installed."""
        return importlib.metadata.version(self.package)


ENTRIES = (
    Entry("gpunet", "ours", "gpunet", "-e ."),
    Entry("PyTorch", "pytorch", "torch", "torch"),
    Entry("PyTorch channels_last", "pytorch", "torch", "torch", variant="channels_last"),
    Entry("PyTorch compile", "pytorch", "torch", "torch", variant="compile", compiler="g++"),
    Entry("JAX", "with_jax", "jax", "jax"),
    Entry("tinygrad", "with_tinygrad", "tinygrad", "tinygrad", compiler="clang"),
    Entry("DeZero", "with_dezero", "dezero", "dezero"),
)
LOADERS = (  # of workload W5
    Entry("gpunet", "ours", "gpunet", "-e ."),
    Entry("PyTorch", "pytorch", "torch", "torch"),
    Entry("PyTorch 2 workers", "pytorch", "torch", "torch", variant="workers"),
    Entry("PyTorch whole batches", "pytorch", "torch", "torch", variant="batches"),
)
OURS = "gpunet"
BASELINES = ("PyTorch", "PyTorch 2 workers")  # ratios are to the median of the fastest of them
