"""The training loop: epochs over a loader, evaluation, a progress bar."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.data import DataLoader
from gpunet.nn import Module
from gpunet.nn import functional as F
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor, no_grad
from gpunet.train.run_folder import RunFolder
from gpunet.viz import confusion_matrix

__all__ = ["evaluate", "fit"]

_READ_EVERY = 20  # steps between looks at the loss: each look waits for the device


def fit(
    model: Module,
    train_loader: DataLoader,
    test_loader: DataLoader,
    optimizer: Optimizer,
    *,
    epochs: int,
    schedule: Callable[[float], float] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    run: RunFolder | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Train a classifier with cross entropy and evaluate it after every epoch.

    Args:
        model: maps a batch of inputs to logits (N, C).
        train_loader, test_loader: yield (inputs, class indices) on the model's device.
        optimizer: of the model's parameters.
        epochs: how many times to go through the training data.
        schedule: maps the share of the steps that are done, in [0, 1), to a factor of the learning rate.
        augment: changes each batch of training inputs, such as `data.RandomInvert()`.
        run: where to save weights, metrics and plots after every epoch.
        progress: show a progress bar on stderr.

    Returns:
        One dict per epoch: epoch (from 1), train_loss, test_loss, test_accuracy in [0, 1], seconds of training.

    Raises:
        FloatingPointError: the loss is no longer finite; the message names epoch and step.
    """
    from tqdm import tqdm

    history = []
    for epoch in range(1, epochs + 1):
        model.train()
        started = time.perf_counter()
        total = None
        with tqdm(
            total=len(train_loader),
            desc=f"epoch {epoch}/{epochs}",
            unit="batch",
            disable=not progress,
            file=sys.stderr,
            mininterval=0.5,
        ) as bar:
            for step, (inputs, targets) in enumerate(train_loader, start=1):
                optimizer.zero_grad()
                if augment is not None:
                    inputs = augment(inputs)
                loss = F.cross_entropy(model(inputs), targets)
                loss.backward()
                done = (epoch - 1 + (step - 1) / len(train_loader)) / epochs
                _scaled_step(optimizer, 1.0 if schedule is None else schedule(done))
                with no_grad():
                    exact = loss.detach().double()  # in float16, a sum of ones stays at 2048
                    total = exact if total is None else total + exact
                if step % _READ_EVERY == 0 or step == len(train_loader):
                    _check_finite(loss.item(), epoch, step)
                    bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
                bar.update()
        seconds = time.perf_counter() - started
        test_loss, confusion = _evaluate(model, test_loader)
        row = {
            "epoch": epoch,
            "train_loss": total.item() / len(train_loader) if total is not None else math.nan,
            "test_loss": test_loss,
            "test_accuracy": _accuracy(confusion),
            "seconds": round(seconds, 3),
        }
        history.append(row)
        if run is not None:
            run.finish_epoch(model, row, confusion)
    return history


def _scaled_step(optimizer: Optimizer, factor: float) -> None:
    """Take a step with all learning rates times a factor; the optimizer keeps its own."""
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        optimizer.step()
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def _check_finite(loss: float, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss} in epoch {epoch}, step {step}.\n  hint: use a smaller learning rate (--lr)"
        )


def evaluate(model: Module, loader: DataLoader) -> tuple[float, float]:
    """Return mean cross entropy in nats and accuracy in [0, 1] over a loader, in evaluation mode."""
    loss, confusion = _evaluate(model, loader)
    return loss, _accuracy(confusion)


def _evaluate(model: Module, loader: DataLoader) -> tuple[float, npt.NDArray[np.int64]]:
    """Return mean cross entropy and the confusion matrix, (C, C) as in `viz.confusion_matrix`."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    loss, confusion = 0.0, np.zeros((0, 0), np.int64)
    try:
        with no_grad():
            for inputs, targets in loader:
                logits = model(inputs)
                loss += F.cross_entropy(logits, targets, reduction="sum").item()
                predictions = np.argmax(backend.of(logits.array).to_numpy(logits.array), axis=1)
                counts = confusion_matrix(targets, predictions, logits.size(1))
                confusion = counts + (confusion if confusion.size else 0)
    finally:
        for module, training in modes.items():
            module.training = training
    return loss / max(int(confusion.sum()), 1), confusion


def _accuracy(confusion: npt.NDArray[np.int64]) -> float:
    return int(np.trace(confusion)) / max(int(confusion.sum()), 1)
