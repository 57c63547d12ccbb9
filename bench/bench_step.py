"""A whole training step: forward, loss, backward, optimizer. The loss is not read, so nothing waits for the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import labels, normal
from bench.shapes import CNN, MLP, TINY_CNN, Step
from gpunet import models, optim
from gpunet.backend import Backend
from gpunet.nn import functional as F
from gpunet.tensor import Tensor


@pytest.mark.cases(MLP, CNN, tiny=TINY_CNN)
def test_train_step(measure: Callable[..., None], be: Backend, case: Step) -> None:
    model = getattr(models, case.model)().to(be.device)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, target = Tensor(normal(be, case.x)), Tensor(labels(be, case.n, case.sizes[-1]))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), target).backward()
        optimizer.step()

    measure(step, "training step", case, work.train_step(case))
