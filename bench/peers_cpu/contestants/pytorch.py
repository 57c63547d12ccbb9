"""PyTorch: eager, eager with channels-last images and weights, compiled; and with its loaders."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from bench.peers_cpu.contestants.epochs import Epochs
from bench.peers_cpu.contestants.script import Script
from bench.peers_cpu.workloads import SHIFT, Weights, Workload

MEAN, STD = 0.1307, 0.3081


class PyTorch(Script):
    """The script, with PyTorch."""

    def __init__(self, workload: Workload, weights: Weights, variant: str) -> None:
        super().__init__(torch, workload, weights)
        self.layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.model.to(memory_format=self.layout)
        if variant == "compile":
            self.model = torch.compile(self.model)

    def put(self, array: npt.NDArray[Any]) -> Any:
        tensor = super().put(array)
        return tensor.contiguous(memory_format=self.layout) if array.ndim == 4 else tensor

    def right(self, logits: Any, y: Any) -> int:
        """Count the right predictions of a batch."""
        return int((logits.argmax(1) == y).sum().item())

    def kernels(self) -> str:
        """Name the vector instructions of ATen's kernels."""
        return str(torch.backends.cpu.get_cpu_capability())


class Images(Dataset):  # type: ignore[misc]
    """MNIST image by image, each normalised and moved by itself, as transforms of single images do."""

    def __init__(self, images: Any, labels: Any, shift: int) -> None:
        self.images, self.labels, self.shift = images, labels, shift

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image, label = self.images[index], self.labels[index]
        if self.shift:
            image = F.pad(image, (self.shift,) * 4)
            top, left = torch.randint(0, 2 * self.shift + 1, (2,)).tolist()
            image = image[:, top : top + 28, left : left + 28]
        return (image.to(torch.float32) / 255 - MEAN) / STD, label


class Batches(Images):
    """MNIST batch by batch: whoever asks for many images gets them in a few operations."""

    def __getitem__(self, indices: Any) -> Any:
        images, labels = self.images[indices], self.labels[indices]
        windows = F.pad(images, (self.shift,) * 4).unfold(2, 28, 1).unfold(3, 28, 1)
        top, left = torch.randint(0, 2 * self.shift + 1, (2, len(images)))
        moved = windows[torch.arange(len(images)), :, top, left]
        return (moved.to(torch.float32) / 255 - MEAN) / STD, labels


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> PyTorch:
    """Return the contestant; `variant` is "", "channels_last" or "compile"."""
    torch.set_num_threads(threads)
    return PyTorch(workload, weights, variant)


def make_epochs(workload: Workload, weights: Weights, threads: int, variant: str, folder: str) -> Epochs:
    """Return the contestant with its loaders; `variant` is "", "workers" (two of them) or "batches"."""
    from gpunet import data  # reads the files

    script, mnist = make(workload, weights, threads, variant), data.MNIST(folder)
    images, labels = torch.from_numpy(mnist.images)[:, None], torch.from_numpy(mnist.targets)
    plain = DataLoader(Images(images, labels, shift=0), workload.batch)
    if variant == "batches":
        whole = Batches(images, labels, SHIFT)
        sampler = BatchSampler(RandomSampler(whole), workload.batch, drop_last=False)
        return Epochs(script, plain, DataLoader(whole, batch_size=None, sampler=sampler))
    workers = 2 if variant == "workers" else 0
    shuffled = DataLoader(Images(images, labels, SHIFT), workload.batch, shuffle=True, num_workers=workers)
    return Epochs(script, plain, shuffled)
