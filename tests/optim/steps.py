"""Parameters and gradients for the tests of optimizers."""

from __future__ import annotations

import numpy as np

import gpunet
from gpunet import nn


def parameters(be, *shapes):
    rng = np.random.default_rng(0)
    return [nn.Parameter(be.from_numpy(rng.standard_normal(shape))) for shape in shapes]


def set_gradients(be, params, rng, skip=()):
    for i, parameter in enumerate(params):
        gradient = rng.standard_normal(parameter.shape)
        parameter.grad = None if i in skip else gpunet.Tensor(be.from_numpy(gradient))
