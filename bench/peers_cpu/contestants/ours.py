"""gpunet on NumPy."""

from __future__ import annotations

from typing import Any

import gpunet  # before NumPy, so that it chooses the BLAS kernels

# isort: split
import numpy as np

from bench.peers_cpu.contestants.epochs import Epochs
from bench.peers_cpu.contestants.script import Script
from bench.peers_cpu.workloads import SHIFT, Weights, Workload
from gpunet import data
from gpunet.backend import blas


class Ours(Script):
    """The script, with gpunet."""

    def right(self, logits: Any, y: Any) -> int:
        """Count the right predictions of a batch."""
        return int(np.count_nonzero(logits.detach().numpy().argmax(1) == y.numpy()))

    def kernels(self) -> str:
        """Name the kernels of NumPy's BLAS."""
        return blas.describe()["kernels"]


class Shifted(data.Dataset[Any]):
    """MNIST, each image moved at random: padded with black and cut out again."""

    def __init__(self, mnist: data.MNIST) -> None:
        self.mnist, self.rng = mnist, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.mnist)

    def __getitem__(self, index: int) -> Any:
        raise TypeError("whole batches only")

    def __getitems__(self, indices: Any) -> Any:
        images, labels = self.mnist.__getitems__(indices)
        sides = ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT))
        padded = np.pad(images, sides, constant_values=self.mnist.black)
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
        top, left = self.rng.integers(0, 2 * SHIFT + 1, (2, len(images)))
        return windows[np.arange(len(images)), :, top, left], labels


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> Ours:
    """Return the contestant."""
    blas.set_threads(threads)
    return Ours(gpunet, workload, weights)


def make_epochs(workload: Workload, weights: Weights, threads: int, variant: str, folder: str) -> Epochs:
    """Return the contestant with its loaders."""
    script, mnist = make(workload, weights, threads, variant), data.MNIST(folder)
    plain = data.DataLoader(mnist, workload.batch)
    return Epochs(script, plain, data.DataLoader(Shifted(mnist), workload.batch, shuffle=True))
