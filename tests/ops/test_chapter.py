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


def loss_slopes(be, loss, x, target):
    """Return the gradient of a loss, not averaged, at each prediction."""
    tensor = gpunet.Tensor(be.from_numpy(np.array(x)), requires_grad=True)
    loss(tensor, gpunet.Tensor(be.from_numpy(np.array(target))), reduction="sum").backward()
    return be.to_numpy(tensor.grad.array).tolist()


def test_the_gradient_of_l1_is_1_above_the_target_and_minus_1_below_however_far(be):
    assert loss_slopes(be, F.l1_loss, [1.1, 1e6, 0.9, -1e6, 1.0], [1.0] * 5) == [1, 1, -1, -1, 0]


def test_l2_penalises_large_errors_more_than_l1(be):
    x, target = (gpunet.Tensor(be.from_numpy(np.array(values))) for values in ([1.0, 4.0], [0.0, 0.0]))
    absolute, squared = (be.to_numpy(f(x, target, reduction="none").array) for f in (F.l1_loss, F.mse_loss))
    assert absolute[1] / absolute[0] == 4 and squared[1] / squared[0] == 16
    assert loss_slopes(be, F.mse_loss, [1.0, 4.0], [0.0, 0.0]) == [2, 8]  # grows with the error


def test_one_hot_cross_entropy_is_minus_the_log_of_the_probability_of_the_class(be):
    x = np.random.default_rng(0).standard_normal((4, 5))
    logits, classes = gpunet.Tensor(be.from_numpy(x)), np.array([0, 2, 4, 1])
    probabilities = be.to_numpy(F.softmax(logits, 1).array)[np.arange(4), classes]
    for target in (classes, np.eye(5)[classes]):
        loss = F.cross_entropy(logits, gpunet.Tensor(be.from_numpy(target)), reduction="none")
        np.testing.assert_allclose(be.to_numpy(loss.array), -np.log(probabilities), rtol=1e-14)


def test_cross_entropy_weighs_the_divergence_between_targets_and_predictions(be):
    predicted = gpunet.Tensor(be.from_numpy(np.log([[0.7, 0.2, 0.1]])))

    def cost(target):
        return F.cross_entropy(predicted, gpunet.Tensor(be.from_numpy(np.array([target])))).item()

    assert cost([0.7, 0.2, 0.1]) < cost([0.2, 0.7, 0.1]) < cost([0.1, 0.2, 0.7])
    entropy = -sum(p * np.log(p) for p in (0.7, 0.2, 0.1))
    assert abs(cost([0.7, 0.2, 0.1]) - entropy) < 1e-15  # no divergence is left


def test_an_outlier_moves_the_best_constant_of_l2_but_not_that_of_l1(be):
    labels, constants = np.array([1.0, 1.0, 1.0, 1.0, 11.0]), np.arange(0.0, 11.0, 0.5)
    best = {}
    for loss in (F.l1_loss, F.mse_loss):
        values = [
            loss(gpunet.Tensor(be.from_numpy(np.full(5, c))), gpunet.Tensor(be.from_numpy(labels))).item()
            for c in constants
        ]
        best[loss] = constants[np.argmin(values)]
    assert best == {F.l1_loss: 1.0, F.mse_loss: 3.0}  # the median, the mean
