"""A training step copies nothing between host and device, apart from the batch and the reading of the loss."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import models, nn, optim
from gpunet.backend import emulated_array
from gpunet.nn import functional as F

OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "SGD with momentum": lambda parameters: optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True
    ),
    "Adam": lambda parameters: optim.Adam(parameters, weight_decay=0.01, amsgrad=True),
    "AdamW": optim.AdamW,
}


def normalised():
    """Return a network with running statistics, one of them an average, and with dropout."""
    layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout2d(), nn.Flatten(), nn.Linear(18, 4)
    return nn.Sequential(*layers, nn.BatchNorm1d(4, momentum=None))


MODELS = {"TinyCNN": (models.TinyCNN, (1, 28, 28), 10), "normalised": (normalised, (1, 5, 5), 4)}


def transfers(be):
    """Return what was counted so far: by the backend, and on the emulated device also what bypassed it."""
    hidden = dict(emulated_array.transfers) if be.name == "emulated" else {}
    return be.host_reads, be.host_writes, hidden


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_a_step_transfers_the_batch_and_the_loss_only(be, model, optimizer, rng):
    build, shape, classes = MODELS[model]
    network = build().to(be.device)
    optimize = OPTIMIZERS[optimizer](network.parameters())
    for step in range(4):
        before = transfers(be)
        x, y = rng.standard_normal((3, *shape), np.float32), rng.integers(0, classes, 3)
        inputs, targets = gpunet.tensor(x).to(be.device), gpunet.tensor(y).to(be.device)
        assert be.host_writes == before[1] + 2, "the batch is two arrays"
        before = transfers(be)
        optimize.zero_grad()
        loss = F.cross_entropy(network(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        nn.utils.clip_grad_value_(network.parameters(), 0.1)
        optimize.step()
        if step:
            assert transfers(be) == before, f"step {step + 1}"
        loss.item()
        assert be.host_reads == before[0] + 1 and (not step or be.host_writes == before[1])


@pytest.mark.only_backends("emulated", "cupy")
def test_changing_a_setting_transfers_nothing(be):
    weight = gpunet.nn.Parameter(gpunet.tensor(np.ones(5, np.float32)).to(be.device))
    optimizer = optim.SGD([weight], lr=0.1)
    for step in range(3):
        before = transfers(be)
        optimizer.zero_grad()
        weight.relu().backward(gpunet.Tensor(be.zeros((5,), np.float32)))
        optimizer.param_groups[0]["lr"] *= 0.5
        optimizer.step()
        assert not step or transfers(be) == before
