"""Dropout: forward, and the gradient that makes the mask again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import DROPOUTS, TINY_DROPOUT, Images
from gpunet import ops
from gpunet.backend import Backend
from gpunet.backend.random import DROPOUT, Draw

DRAW = Draw(seed=0, stream=DROPOUT, call=0)


@pytest.mark.cases(*DROPOUTS, tiny=TINY_DROPOUT)
def test_dropout_forward(measure: Callable[..., None], be: Backend, case: Images) -> None:
    x, op = normal(be, case.x), getattr(ops, case.function)
    measure(lambda: op(x, 0.5, generator=DRAW), "dropout forward", case, work.dropout(case.x))


@pytest.mark.cases(*DROPOUTS, tiny=TINY_DROPOUT)
def test_dropout_gradient(measure: Callable[..., None], be: Backend, case: Images) -> None:
    gy, op = normal(be, case.x), getattr(ops, case.function)
    measure(lambda: op.grad(gy, p=0.5, generator=DRAW), "dropout gradient", case, work.dropout(case.x))
