"""Losses, each with its gradient, as a training step calls them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench import work
from bench.inputs import labels, normal
from bench.shapes import LOGITS, LOSSES, TINY_LOGITS, TINY_LOSS, Rows
from gpunet import ops
from gpunet.backend import Backend


@pytest.mark.cases(*LOGITS, tiny=TINY_LOGITS)
def test_cross_entropy(measure: Callable[..., None], be: Backend, case: Rows) -> None:
    x, target, one = normal(be, case.x), labels(be, case.n, case.c), be.from_numpy(np.ones((), np.float32))

    def loss_and_gradient() -> object:
        _, *extras = ops.cross_entropy.forward(x, target)
        return ops.cross_entropy.grad(one, x, target, None, *extras)

    measure(loss_and_gradient, "cross_entropy with gradient", case, work.cross_entropy(case))


@pytest.mark.cases(*LOSSES, tiny=TINY_LOSS)
def test_elementwise_loss(measure: Callable[..., None], be: Backend, case: Rows) -> None:
    op, one = getattr(ops, case.function), be.from_numpy(np.ones((), np.float32))
    x, target, weights = normal(be, case.x), be.zeros(case.x, np.float32), [None] * (len(op.inputs) - 2)

    def loss_and_gradient() -> object:
        op(x, target)
        return op.grad(one, x, target, *weights, needs=("x",))

    measure(loss_and_gradient, "elementwise loss with gradient", case, work.loss(case))
