"""TF32 under nn and in matmul: PyTorch's defaults, on a GPU only, and where the user says so."""

from __future__ import annotations

import operator
import subprocess
import sys

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.tensor import Tensor


def layers_and_input(be, layer):
    layer = layer.to(be.device)
    shape = (3, 8, 6, 5) if isinstance(layer, nn.Conv2d) else (3, 8)
    return layer, Tensor(be.from_numpy(np.random.default_rng(0).standard_normal(shape).astype(np.float32)), True)


class Product(nn.Module):
    """A matrix product with a weight, by a function."""

    def __init__(self, product):
        super().__init__()
        self.product, self.weight = product, nn.Parameter(nn.Linear(12, 8).weight)

    def forward(self, x):
        return self.product(x, self.weight)


def run(be, layer):
    """Return the output and the gradients of input and weight."""
    layer, x = layers_and_input(be, layer)
    layer.zero_grad()
    y = layer(x)
    y.sum().backward()
    return [be.to_numpy(array) for array in (y.array, x.grad.array, layer.weight.grad.array)]


@pytest.mark.parametrize(
    ("make", "set_precision"),
    [
        (lambda: nn.Conv2d(8, 12, 3), gpunet.set_float32_conv_precision),
        (lambda: nn.Linear(8, 12), gpunet.set_float32_matmul_precision),
        (lambda: Product(gpunet.matmul), gpunet.set_float32_matmul_precision),
        (lambda: Product(operator.matmul), gpunet.set_float32_matmul_precision),
        (lambda: Product(lambda x, w: gpunet.bmm(x[None], w[None])), gpunet.set_float32_matmul_precision),
    ],
    ids=["conv", "linear", "matmul", "@", "bmm"],
)
def test_tf32_is_taken_where_it_is_allowed(be, make, set_precision):
    layer = make()
    exact = run(be, layer)
    set_precision("high")
    rounded = run(be, layer)
    for a, b in zip(exact, rounded, strict=True):
        assert np.allclose(a, b, atol=5e-3)
    if be.uses_kernels and be.arch >= 80:
        assert not any(np.array_equal(a, b) for a, b in zip(exact[:2], rounded[:2], strict=True))
    else:
        assert all(np.array_equal(a, b) for a, b in zip(exact, rounded, strict=True))


def test_backward_multiplies_as_forward_did(be):
    layer, x = layers_and_input(be, nn.Linear(8, 12))
    y = layer(x)
    gpunet.set_float32_matmul_precision("high")
    y.sum().backward()
    assert np.array_equal(be.to_numpy(x.grad.array), run(be, layer)[1]) == (not be.uses_kernels)
    gpunet.set_float32_matmul_precision("highest")
    assert np.array_equal(be.to_numpy(x.grad.array), run(be, layer)[1])


def test_the_defaults_are_those_of_pytorch():
    code = "import gpunet as g; print(g.get_float32_conv_precision(), g.get_float32_matmul_precision())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["high", "highest"]


@pytest.mark.torch
def test_pytorch_has_these_defaults(torch):
    code = "import torch; print(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["highest", "True"]


@pytest.mark.parametrize("name", ["conv", "matmul"])
def test_a_precision_that_does_not_exist(name):
    with pytest.raises(ValueError, match=rf"set_float32_{name}_precision: .*\n.*'highest', 'high', .* got 'low'"):
        getattr(gpunet, f"set_float32_{name}_precision")("low")
    assert getattr(gpunet, f"get_float32_{name}_precision")() == "highest"
