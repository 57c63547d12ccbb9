"""Activations: forward and gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import ACTIVATIONS, TINY_ACTIVATION, Images
from gpunet import ops
from gpunet.backend import Backend


@pytest.mark.cases(*ACTIVATIONS, tiny=TINY_ACTIVATION)
def test_activation_forward(measure: Callable[..., None], be: Backend, case: Images) -> None:
    x, op = normal(be, case.x), getattr(ops, case.function)
    measure(lambda: op(x), "activation forward", case, work.activation(case.function, case.x, "forward"))


@pytest.mark.cases(*ACTIVATIONS, tiny=TINY_ACTIVATION)
def test_activation_gradient(measure: Callable[..., None], be: Backend, case: Images) -> None:
    op = getattr(ops, case.function)
    x = normal(be, case.x)
    saved = {"x": x, "y": op(x)}[op.saves[0]]
    gy = normal(be, case.x)
    measure(lambda: op.grad(gy, saved), "activation gradient", case, work.activation(case.function, case.x, "gradient"))
