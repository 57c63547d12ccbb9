"""What is timed: three networks in training and inference, their first weights and their batches, all as NumPy arrays.

Names and layouts of weights are PyTorch's, (outputs, inputs, height, width); other contestants turn them round.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[Any]]
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

CLASSES = 10
SHIFT = 2  # pixels, at most, by which W5 moves its images
SGD = {"lr": 0.01, "momentum": 0.9}
ADAM = {"lr": 0.001}
BATCHES = 8  # different ones, in a ring
IMAGES = {"mlp": (784,), "cnn": (1, 28, 28), "resnet": (3, 32, 32)}
# (inputs, outputs, stride) of the ResNet's basic blocks: two per stage.
BLOCKS = ((32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1))


@dataclass(frozen=True)
class Workload:
    """A network in training, or in inference where there is no optimizer."""

    name: str
    title: str
    network: str  # a key of IMAGES
    batch: int
    optimizer: str | None = None  # "SGD" or "Adam"
    epoch: bool = False  # a step is a whole epoch of MNIST, with loader, augmentation and metrics

    @property
    def training(self) -> bool:
        """Say whether a step trains."""
        return self.optimizer is not None


WORKLOADS = (
    Workload("W1", "MLP 784-512-256-10, SGD, batch 128", "mlp", 128, "SGD"),
    Workload("W2", "CNN of MNIST, Adam, batch 64", "cnn", 64, "Adam"),
    Workload("W3", "ResNet on 3x32x32, SGD, batch 64", "resnet", 64, "SGD"),
    Workload("W4-CNN-1", "inference of W2, batch 1", "cnn", 1),
    Workload("W4-CNN-256", "inference of W2, batch 256", "cnn", 256),
    Workload("W4-ResNet-1", "inference of W3, batch 1", "resnet", 1),
    Workload("W4-ResNet-256", "inference of W3, batch 256", "resnet", 256),
    Workload("W5", "W2 over an epoch of MNIST, with loader, shifts, metrics", "cnn", 64, "Adam", epoch=True),
)


def tiny(workload: Workload) -> Workload:
    """Return a workload of few images, to see whether everything runs."""
    return replace(workload, batch=min(workload.batch, 4), title=f"{workload.title}: toy size")


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all layers' weights by name; one axis means batch norm."""
    if network == "mlp":
        return {"fc1": (512, 784), "fc2": (256, 512), "fc3": (CLASSES, 256)}
    if network == "cnn":
        return {"conv1": (32, 1, 3, 3), "conv2": (64, 32, 3, 3), "fc1": (128, 9216), "fc2": (CLASSES, 128)}
    found: dict[str, tuple[int, ...]] = {"conv": (32, 3, 3, 3), "norm": (32,)}
    for index, (inputs, outputs, stride) in enumerate(BLOCKS):
        layers = {
            "conv1": (outputs, inputs, 3, 3),
            "norm1": (outputs,),
            "conv2": (outputs, outputs, 3, 3),
            "norm2": (outputs,),
        }
        if stride > 1:
            layers |= {"shortcut.0": (outputs, inputs, 1, 1), "shortcut.1": (outputs,)}
        found |= {f"blocks.{index}.{name}": shape for name, shape in layers.items()}
    return {**found, "fc": (CLASSES, 128)}


def first_weights(network: str) -> Weights:
    """Return what everybody starts from, distributed as PyTorch does; convolutions before a norm have no bias."""
    rng, weights = np.random.default_rng(0), Weights()
    for name, shape in shapes(network).items():
        if len(shape) == 1:
            uniform = [rng.uniform(0.5, 1.5, shape), *rng.uniform(-0.1, 0.1, (2, *shape)), rng.uniform(0.5, 1.5, shape)]
            parts = dict(zip(("weight", "bias", "running_mean", "running_var"), uniform, strict=True))
        else:
            bound = 1 / math.sqrt(math.prod(shape[1:]))
            parts = {"weight": rng.uniform(-bound, bound, shape)}
            if network != "resnet" or len(shape) == 2:
                parts["bias"] = rng.uniform(-bound, bound, shape[:1])
        weights |= {f"{name}.{part}": array.astype(np.float32) for part, array in parts.items()}
    return weights


def batches(workload: Workload) -> list[Batch]:
    """Return the ring of batches: images (N, ...) in [0, 1) and labels (N,)."""
    rng, size = np.random.default_rng(1), (workload.batch, *IMAGES[workload.network])
    return [(rng.random(size, np.float32), rng.integers(0, CLASSES, workload.batch)) for _ in range(BATCHES)]


class Ring:
    """Steps of a contestant over a few batches, again and again; `loss` reads what a step returns."""

    def __init__(self, workload: Workload, contestant: Any) -> None:
        self.training, self.contestant = workload.training, contestant
        put = contestant.put
        ready = [(put(x), put(y) if workload.training else y) for x, y in batches(workload)]
        self._turns = itertools.cycle(ready)

    def step(self) -> Any:
        """Train on the next batch, or infer from it."""
        x, y = next(self._turns)
        return self.contestant.step(x, y) if self.training else (self.contestant.predict(x), y)

    first = wake = step


def loss(result: Any) -> float:
    """Return the loss of a step: of an inference it is computed here, since it is no part of the work."""
    return cross_entropy(*result) if isinstance(result, tuple) else float(result)


def cross_entropy(logits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> float:
    """Return the mean cross entropy in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))
