"""Initialisation of weights: bounds are PyTorch's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.tensor import Parameter, Tensor

CALLS = [
    lambda init, w: init.xavier_uniform_(w),
    lambda init, w: init.xavier_uniform_(w, init.calculate_gain("tanh")),
    lambda init, w: init.kaiming_uniform_(w, a=math.sqrt(5)),
    lambda init, w: init.kaiming_uniform_(w, nonlinearity="relu"),
    lambda init, w: init.kaiming_uniform_(w, 0.1, "fan_out", "leaky_relu"),
    lambda init, w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="sigmoid"),
]


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3, 2)])
@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
def test_bounds_are_pytorchs(torch, shape, call):
    def bound(init, weight, manual_seed):
        """Compare with numbers between -1 and 1 that are drawn from the same seed."""
        manual_seed(3)
        unit = np.array(init.uniform_(weight, -1.0, 1.0).tolist())
        manual_seed(3)
        return np.median(np.array(call(init, weight).tolist()) / unit)

    ours = bound(nn.init, Tensor(np.zeros(shape)), gpunet.manual_seed)
    assert ours == pytest.approx(bound(torch.nn.init, torch.zeros(shape, dtype=torch.float64), torch.manual_seed))


@pytest.mark.torch
@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains_are_pytorchs(torch, name):
    for param in (None, 0.2):
        assert nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


def test_parameters_are_filled_in_place(be):
    weight = Parameter(be.zeros((2, 3), np.float32))
    for fill, value in ((nn.init.ones_, 1), (nn.init.zeros_, 0), (lambda w: nn.init.constant_(w, 0.25), 0.25)):
        assert fill(weight) is weight and weight.is_leaf and weight.requires_grad
        assert weight.tolist() == [[value] * 3] * 2


def test_normal_numbers_have_their_mean_and_deviation(be):
    weight = Parameter(be.zeros((101, 33), np.float64))
    assert nn.init.normal_(weight, -3.0, 0.25) is weight
    values = be.to_numpy(weight.array)
    assert abs(values.mean() + 3) < 0.02 and abs(values.std() - 0.25) < 0.01
    for within, share in ((1, 0.6827), (2, 0.9545)):
        assert abs((abs(values + 3) < within * 0.25).mean() - share) < 0.02
    gpunet.manual_seed(0)
    first = nn.init.normal_(gpunet.zeros(5)).tolist()
    gpunet.manual_seed(0)
    assert nn.init.normal_(gpunet.zeros(5)).tolist() == first and len({*first}) == 5
    with pytest.raises(ValueError, match="normal_: std must be >= 0, got -1"):
        nn.init.normal_(weight, std=-1)


def test_empty_weights_are_left_alone():
    for shape in ((0, 3), (3, 0), (0, 0)):
        for fill in (nn.init.xavier_uniform_, nn.init.kaiming_uniform_, nn.init.normal_):
            assert fill(gpunet.zeros(shape)).shape == shape
    assert nn.init.fan_out((3, 0, 2)) == 6


def test_impossible_initialisations_are_refused():
    weight = gpunet.tensor([[0.0]])
    with pytest.raises(ValueError, match=r"nonlinearity must be one of(.|\n)*got 'gelu'"):
        nn.init.kaiming_uniform_(weight, nonlinearity="gelu")
    with pytest.raises(ValueError, match='mode must be "fan_in" or "fan_out", got \'fan\''):
        nn.init.kaiming_uniform_(weight, mode="fan")
    with pytest.raises(gpunet.ShapeError, match=r"expected a weight \(O, I, \*window\), got shape \(1,\)"):
        nn.init.xavier_uniform_(weight[0])
