"""What every plot shares: figures without a window, arrays on the host, files written whole or not at all."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend.files import open_atomic
from gpunet.tensor import Tensor

__all__ = ["available", "host", "new_figure", "save_figure"]


def available() -> bool:
    """Say whether matplotlib is installed: pip install matplotlib."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(function: str, width: float, height: float) -> Any:
    """Return an empty figure of a size in inches; no window, no global state.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"{function}: plots need matplotlib\n  hint: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG; an old file stays intact until the new one is whole."""
    with open_atomic(path) as file:
        figure.savefig(file, format="png", dpi=120)


def host(values: Any) -> npt.NDArray[Any]:
    """Return a Tensor, an array of any backend, or a list as a NumPy array."""
    if isinstance(values, list | tuple | range):
        return np.asarray(values)
    array = values.array if isinstance(values, Tensor) else values
    return backend.of(array).to_numpy(array)
