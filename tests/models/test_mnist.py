"""The networks for MNIST: LeNet-5 against the same network in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import models


@pytest.mark.torch
def test_lenet5_is_pytorchs_network_of_the_same_layers(be, torch, rng):
    t = torch.nn
    theirs = t.Sequential(
        *(t.Conv2d(1, 6, 5, padding=2), t.Tanh(), t.AvgPool2d(2), t.Conv2d(6, 16, 5), t.Tanh(), t.AvgPool2d(2)),
        *(t.Flatten(), t.Linear(400, 120), t.Tanh(), t.Linear(120, 84), t.Tanh(), t.Linear(84, 10)),
    ).double()
    ours = models.LeNet5().double().to(be.device)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = rng.standard_normal((2, 1, 28, 28))
    y = be.to_numpy(ours(gpunet.tensor(x, device=be.device)).array)
    np.testing.assert_allclose(y, theirs(torch.tensor(x)).detach().numpy(), rtol=1e-10, atol=1e-12)
