"""Optimizer steps over one flat buffer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import PARAMETERS, TINY_PARAMETERS, Flat
from gpunet import Parameter, optim
from gpunet.backend import Backend
from gpunet.tensor import Tensor


def parameter(be: Backend, case: Flat) -> Parameter:
    """Return one parameter of a size, with a gradient."""
    made = Parameter(Tensor(normal(be, case.x)))
    made.grad = Tensor(normal(be, case.x))
    return made


@pytest.mark.cases(*PARAMETERS, tiny=TINY_PARAMETERS)
def test_sgd(measure: Callable[..., None], be: Backend, case: Flat) -> None:
    optimizer = optim.SGD([parameter(be, case)], lr=1e-3, momentum=0.9)
    measure(optimizer.step, "SGD with momentum", case, work.sgd(case))


@pytest.mark.cases(*PARAMETERS, tiny=TINY_PARAMETERS)
def test_adam(measure: Callable[..., None], be: Backend, case: Flat) -> None:
    optimizer = optim.Adam([parameter(be, case)])
    measure(optimizer.step, "Adam", case, work.adam(case))
