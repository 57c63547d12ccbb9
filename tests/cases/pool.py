"""Cases of pooling."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


def _pool(torch, x, **attrs):
    return getattr(torch.nn.functional, f"max_pool{x.ndim - 2}d")(x, **attrs)


def pool_case(op, x, id="", **attrs):
    launches = {"max_pool_forward": 1, "copy_strided": 2}
    return Case(op, {"x": x}, launches, {"x": {"max_pool_backward": 1, "copy_strided": 2}}, attrs, torch=_pool, id=id)


CASES = [
    pool_case(ops.max_pool2d, (2, 3, 6, 7), kernel_size=2),
    pool_case(ops.max_pool2d, (2, 3, 7, 8), id="overlapping", kernel_size=3, stride=(2, 1), padding=1),
    pool_case(ops.max_pool2d, (1, 2, 8, 9), id="dilated", kernel_size=(2, 3), stride=2, dilation=(2, 1)),
    pool_case(ops.max_pool2d, (1, 2, 7, 5), id="ceil", kernel_size=2, ceil_mode=True),
    pool_case(ops.max_pool2d, (1, 2, 20, 18), id="wide", kernel_size=17, stride=1),
    pool_case(ops.max_pool1d, (2, 3, 9), kernel_size=3, stride=2, padding=1),
    pool_case(ops.max_pool3d, (2, 2, 4, 5, 6), kernel_size=(2, 2, 3)),
]


def indices_are_positions_in_the_input(be):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    _, indices = ops.max_pool2d(be.from_numpy(x), 2, padding=1, return_indices=True)
    _, expected = ops.max_pool2d(x, 2, padding=1, return_indices=True)
    assert np.array_equal(be.to_numpy(indices), expected)


SPECIALS = [Special(("max_pool_indices",), indices_are_positions_in_the_input)]
