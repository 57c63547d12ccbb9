"""Batch norm in training: forward with running statistics, and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import NORMS, TINY_NORM, Images
from gpunet import ops
from gpunet.backend import Backend


@pytest.mark.cases(*NORMS, tiny=TINY_NORM)
def test_batch_norm_forward(measure: Callable[..., None], be: Backend, case: Images) -> None:
    x, weight, bias = normal(be, case.x), normal(be, (case.c,)), normal(be, (case.c,))
    running = be.zeros((case.c,), x.dtype), be.zeros((case.c,), x.dtype)
    measure(
        lambda: ops.batch_norm.forward(x, *running, weight, bias, training=True),
        "batch_norm forward",
        case,
        work.batch_norm(case, "forward"),
    )


@pytest.mark.cases(*NORMS, tiny=TINY_NORM)
def test_batch_norm_gradient(measure: Callable[..., None], be: Backend, case: Images) -> None:
    x, gy, weight, bias = normal(be, case.x), normal(be, case.x), normal(be, (case.c,)), normal(be, (case.c,))
    _, mean, inv_std = ops.batch_norm.forward(x, None, None, weight, bias, training=True)
    measure(
        lambda: ops.batch_norm.grad(gy, x, weight, bias, mean, inv_std, training=True),
        "batch_norm gradient",
        case,
        work.batch_norm(case, "gradient"),
    )
