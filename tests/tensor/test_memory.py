"""Training steps on the CPU take their memory from what earlier steps gave back."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.backend import blas, pool
from gpunet.nn import functional as F

MIB = 1 << 20


class CNN(nn.Module):
    """Two convolutions and two linear layers: 72 MB of images and gradients in a step of 64 images."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    """Strided convolution, batch norm, a block that adds its input, and global pooling: 25 MB in a step."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64)
        self.conv2, self.norm2 = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(x + self.norm2(self.conv2(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def mlp():
    """Return a network whose step of 128 images takes 3 MB."""
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


@pytest.fixture(autouse=True)
def default_threads():
    yield
    blas.set_threads(0)


@pytest.mark.parametrize(
    ("model", "optimizer", "settings", "shape"),
    [
        (mlp, optim.SGD, {"momentum": 0.9}, (128, 784)),
        (mlp, optim.Adam, {}, (128, 784)),
        (CNN, optim.Adam, {}, (64, 1, 28, 28)),
        (Residual, optim.SGD, {"momentum": 0.9}, (64, 3, 32, 32)),
    ],
)
def test_a_training_step_needs_no_new_memory(model, optimizer, settings, shape, rng, monkeypatch):
    blas.set_threads(1)  # which thread needs scratch memory of which size would be chance
    network = model()
    opt = optimizer(network.parameters(), lr=0.001, **settings)
    x = gpunet.tensor(rng.random(shape, np.float32))
    y = gpunet.tensor(rng.integers(0, 10, shape[0]))

    def step():
        opt.zero_grad()
        F.cross_entropy(network(x), y).backward()
        opt.step()

    for _ in range(3):
        step()
    fresh, make = [], pool.Pool._fresh
    monkeypatch.setattr(pool.Pool, "_fresh", lambda *args: fresh.append(args[1:]) or make(*args))
    gc.collect()
    tracemalloc.start()
    try:
        step()  # what is freed first was not traced
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(3):
            step()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not fresh
    assert peak - before < MIB and after - before < MIB // 10
