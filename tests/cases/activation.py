"""Cases of activations."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


def activation_case(op, x=(2, 3, 5), id="", **attrs):
    """Return the case of an elementwise function that PyTorch has under the same name."""
    name = op.__name__

    def same_in_torch(torch, x, **attrs):
        return getattr(torch.nn.functional, name)(x, **attrs)

    launches, grad_launches = {f"{name}_forward": 1}, {"x": {f"{name}_backward": 1}}
    return Case(op, {"x": x}, launches, grad_launches, attrs, torch=same_in_torch, id=id)


CASES = [
    *(activation_case(op) for op in (ops.relu, ops.sigmoid, ops.tanh, ops.elu, ops.leaky_relu)),
    activation_case(ops.relu, (700,)),
    activation_case(ops.elu, (3, 4), alpha=1.5, id="alpha"),
    activation_case(ops.elu, (4, 3), alpha=-0.7, id="negative-alpha"),
    activation_case(ops.leaky_relu, (5, 2), negative_slope=0.3, id="slope"),
    activation_case(ops.leaky_relu, (2, 5), negative_slope=-0.7, id="negative-slope"),
]


def relu_of_minus_zero_is_plus_zero(be):
    y = be.to_numpy(ops.relu(be.from_numpy(np.array([-0.0, 0.0], np.float32))))
    assert y.tolist() == [0, 0] and not np.signbit(y).any()


SPECIALS = [Special(("relu_forward",), relu_of_minus_zero_is_plus_zero)]
