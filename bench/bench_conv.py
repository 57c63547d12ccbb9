"""Convolution: forward and both gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import work
from bench.inputs import normal
from bench.shapes import CIFAR_CONVS, MNIST_CONVS, RESNET50_CONVS, TINY_CONV, Conv
from gpunet import ops
from gpunet.backend import CHANNELS_LAST, Backend

CASES = MNIST_CONVS + CIFAR_CONVS + RESNET50_CONVS
INNER = [case for case in CASES if case.c > 3]  # nobody asks for the gradient of the images


@pytest.mark.cases(*CASES, tiny=TINY_CONV)
def test_conv2d_forward(measure: Callable[..., None], be: Backend, case: Conv) -> None:
    x, w, b = normal(be, case.x), normal(be, case.w), normal(be, (case.o,))
    measure(
        lambda: ops.conv2d(x, w, b, case.stride, case.padding, layout=CHANNELS_LAST),
        "conv2d forward",
        case,
        work.conv(case, "forward"),
    )


@pytest.mark.cases(*INNER, tiny=TINY_CONV)
def test_conv2d_input_gradient(measure: Callable[..., None], be: Backend, case: Conv) -> None:
    x, w, gy = normal(be, case.x), normal(be, case.w), normal(be, case.y)
    measure(
        lambda: ops.conv2d.grad(gy, x, w, needs=("x",), stride=case.stride, padding=case.padding),
        "conv2d input gradient",
        case,
        work.conv(case, "input gradient"),
    )


@pytest.mark.cases(*CASES, tiny=TINY_CONV)
def test_conv2d_weight_gradient(measure: Callable[..., None], be: Backend, case: Conv) -> None:
    x, w, gy = normal(be, case.x), normal(be, case.w), normal(be, case.y)
    measure(
        lambda: ops.conv2d.grad(gy, x, w, needs=("w",), stride=case.stride, padding=case.padding),
        "conv2d weight gradient",
        case,
        work.conv(case, "weight gradient"),
    )
