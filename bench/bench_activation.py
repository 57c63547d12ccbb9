"""Activations, softmax among them: forward and gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import ACTIVATIONS, SOFTMAXES, TINY_ACTIVATION, TINY_SOFTMAX, Images, Rows
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


@pytest.mark.cases(*SOFTMAXES, tiny=TINY_SOFTMAX)
def test_softmax_forward(measure: Callable[..., None], be: Backend, case: Rows) -> None:
    x, op = normal(be, case.x), getattr(ops, case.function)
    measure(lambda: op(x, 1), "softmax forward", case, work.softmax(case, "forward"))


@pytest.mark.cases(*SOFTMAXES, tiny=TINY_SOFTMAX)
def test_softmax_gradient(measure: Callable[..., None], be: Backend, case: Rows) -> None:
    gy, op = normal(be, case.x), getattr(ops, case.function)
    y = op(normal(be, case.x), 1)
    measure(lambda: op.grad(gy, y, dim=1), "softmax gradient", case, work.softmax(case, "gradient"))
