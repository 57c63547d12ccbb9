"""What a textbook chapter on neural networks claims of activations and losses."""

from __future__ import annotations

import numpy as np

import gpunet
from gpunet.nn import functional as F


def slopes(be, function, *points):
    """Return the gradient of an elementwise function at each point."""
    x = gpunet.Tensor(be.from_numpy(np.array(points)), requires_grad=True)
    function(x).backward(gpunet.Tensor(be.from_numpy(np.ones(len(points)))))
    return be.to_numpy(x.grad.array).tolist()


def test_the_gradient_of_relu_is_0_or_1_and_0_at_0(be):
    assert slopes(be, F.relu, -3.0, -1e-300, -0.0, 0.0, 1e-300, 3.0) == [0, 0, 0, 0, 1, 1]


def test_sigmoid_is_steepest_at_its_centre_with_slope_a_quarter(be):
    centre, *elsewhere = slopes(be, F.sigmoid, 0.0, *np.linspace(-6, 6, 100))
    assert centre == 0.25 and 0 < min(elsewhere) < max(elsewhere) < 0.25


def test_tanh_is_steepest_at_its_centre_with_slope_1_so_steeper_than_sigmoid(be):
    centre, *elsewhere = slopes(be, F.tanh, 0.0, *np.linspace(-6, 6, 100))
    assert centre == 1 and 0 < min(elsewhere) < max(elsewhere) < 1
    assert centre > slopes(be, F.sigmoid, 0.0)[0]


def test_slopes_vanish_away_from_the_centre(be):
    for function in (F.sigmoid, F.tanh):
        falling = slopes(be, function, 0.0, 1.0, 2.0, 4.0, 8.0)
        assert falling == sorted(falling, reverse=True) and falling[-1] < 1e-3


def test_outputs_lie_in_the_ranges_stated(be):
    x = gpunet.Tensor(be.from_numpy(np.linspace(-30, 30, 61)))
    probabilities, signed = (be.to_numpy(function(x).array) for function in (F.sigmoid, F.tanh))
    assert probabilities.min() > 0 and probabilities.max() <= 1
    assert signed.min() >= -1 and signed.max() <= 1
