"""Random arrays on a device, channels-last where they are images: the form in which networks hold them."""

from __future__ import annotations

import numpy as np

from gpunet.backend import CHANNELS_LAST, Array, Backend
from gpunet.backend.layout import from_memory_view, memory_order


def normal(be: Backend, shape: tuple[int, ...]) -> Array:
    """Return float32 values from a normal distribution; the same ones each time."""
    memory = tuple(shape[axis] for axis in memory_order(len(shape), CHANNELS_LAST))
    host = np.random.default_rng(0).standard_normal(memory, np.float32)
    return from_memory_view(be.from_numpy(host), CHANNELS_LAST)


def labels(be: Backend, rows: int, classes: int) -> Array:
    """Return class indices."""
    return be.from_numpy(np.random.default_rng(0).integers(0, classes, rows))
