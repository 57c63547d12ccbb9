"""Pooling: forward and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import AVERAGE_POOLS, POOLS, TINY_POOL, Pool
from gpunet import ops
from gpunet.backend import Backend


@pytest.mark.cases(*POOLS, tiny=TINY_POOL)
def test_max_pool2d_forward(measure: Callable[..., None], be: Backend, case: Pool) -> None:
    x = normal(be, case.x)
    measure(
        lambda: ops.max_pool2d.forward(x, case.window, case.stride, case.padding),
        "max_pool2d forward",
        case,
        work.max_pool(case, "forward"),
    )


@pytest.mark.cases(*POOLS, tiny=TINY_POOL)
def test_max_pool2d_gradient(measure: Callable[..., None], be: Backend, case: Pool) -> None:
    window: dict[str, Any] = {"kernel_size": case.window, "stride": case.stride, "padding": case.padding}
    winner, gy = ops.max_pool2d.forward(normal(be, case.x), **window)[1], normal(be, case.y)
    measure(
        lambda: ops.max_pool2d.grad(gy, winner, input_size=case.x, **window),
        "max_pool2d gradient",
        case,
        work.max_pool(case, "gradient"),
    )


@pytest.mark.cases(*AVERAGE_POOLS, tiny=TINY_POOL)
def test_avg_pool2d_forward(measure: Callable[..., None], be: Backend, case: Pool) -> None:
    x = normal(be, case.x)
    measure(
        lambda: ops.avg_pool2d(x, case.window, case.stride, case.padding),
        "avg_pool2d forward",
        case,
        work.avg_pool(case, "forward"),
    )


@pytest.mark.cases(*AVERAGE_POOLS, tiny=TINY_POOL)
def test_avg_pool2d_gradient(measure: Callable[..., None], be: Backend, case: Pool) -> None:
    window: dict[str, Any] = {"kernel_size": case.window, "stride": case.stride, "padding": case.padding}
    gy = normal(be, case.y)
    measure(
        lambda: ops.avg_pool2d.grad(gy, input_size=case.x, **window),
        "avg_pool2d gradient",
        case,
        work.avg_pool(case, "gradient"),
    )
