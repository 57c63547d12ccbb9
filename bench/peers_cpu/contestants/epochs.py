"""Epochs of MNIST, as users write them: loader, augmentation, running loss and accuracy; gpunet and PyTorch alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.peers_cpu.contestants.script import Script


class Epochs:
    """Trains over loaders; the first steps go over images in order and without augmentation, so that all see the same.

    Args:
        script: the network and its optimizer.
        plain: yields the first batches.
        augmented: one epoch for each `iter`, shuffled.
    """

    def __init__(self, script: Script, plain: Iterable[Any], augmented: Iterable[Any]) -> None:
        self.script, self._plain, self._augmented = script, iter(plain), augmented
        self.kernels = script.kernels

    def first(self) -> float:
        """Train on the next batch in order; return its loss."""
        return self.script.step(*next(self._plain))

    def wake(self) -> None:
        """Do nothing: an epoch is long."""

    def step(self) -> dict[str, float]:
        """Train for one epoch; return the means of loss and accuracy, and over how many images."""
        script, F = self.script, self.script.lib.nn.functional
        total, right, count = 0.0, 0, 0
        for x, y in self._augmented:
            script.optimizer.zero_grad()
            logits = script.model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            script.optimizer.step()
            total += loss.item() * len(y)
            right += script.right(logits, y)
            count += len(y)
        return {"loss": total / count, "accuracy": right / count, "images": count}
