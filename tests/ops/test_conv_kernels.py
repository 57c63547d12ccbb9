"""The kernels of convolution against each other: those for special shapes and the plain ones, on more than one tile."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.ops.conv_depthwise import DEPTHWISE
from gpunet.ops.conv_direct import DIRECT
from gpunet.ops.conv_plain import PLAIN
from tests.harness.case import FLOATS

SHAPES = [
    (DIRECT, (2, 3, 33, 31), (20, 3, 3, 3), {}),
    (DIRECT, (3, 1, 27, 50), (37, 1, 5, 2), {"stride": (2, 1)}),
    (DIRECT, (1, 4, 40, 41), (70, 4, 7, 7), {"stride": (2, 2), "dilation": (1, 2)}),
    (DEPTHWISE, (2, 40, 33, 30), (40, 1, 3, 3), {"groups": 40}),
    (DEPTHWISE, (3, 5, 35, 31), (10, 1, 4, 3), {"groups": 5, "stride": (2, 1)}),
    (DEPTHWISE, (2, 13, 30, 29), (13, 1, 7, 7), {"groups": 13, "stride": (3, 2), "dilation": (2, 1)}),
]


def geometry(x, w, stride=(1, 1), padding=(1, 2), dilation=(1, 1), groups=1):
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return ops.conv2d.geometry(x, w, layout=None, allow_tf32=False, **attrs)


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("kernels", "x_shape", "w_shape", "attrs"), SHAPES)
def test_special_kernels_agree_with_the_plain_ones(be, kernels, x_shape, w_shape, attrs, dtype, rng):
    g = geometry(x_shape, w_shape, **attrs)
    x, w, gy = (
        channels_last(be, rng.integers(-1, 2, shape).astype(dtype))
        for shape in (x_shape, w_shape, (g.batch, g.outputs, *g.out_size[1:]))
    )
    found, expected = (products(be, by, x, w, gy, g) for by in (kernels, PLAIN))
    for name, array in found.items():
        assert np.array_equal(array, expected[name]), name  # sums of small integers are exact, whatever their order


def channels_last(be, array):
    out = be.empty(array.shape, array.dtype, CHANNELS_LAST)
    be.copy(out, be.from_numpy(array))
    return out


def products(be, by, x, w, gy, g):
    """Return what these kernels make of a convolution, with and without biases."""
    made = {}
    for name, product, like, args in (
        ("y", "forward", gy, (x, w, be.from_numpy(np.arange(g.outputs).astype(w.dtype)))),
        ("y without a bias", "forward", gy, (x, w, None)),
        ("gx", "input_gradient", x, (gy, w, None)),
        ("gx with a bias", "input_gradient", x, (gy, w, be.from_numpy(np.arange(g.channels).astype(w.dtype)))),
    ):
        if by is PLAIN or by.fits(product, g):
            made[name] = be.empty(like.shape, like.dtype, CHANNELS_LAST)
            getattr(by, product)(be, made[name], *args, g)
    made["gw"], made["gb"] = be.empty(w.shape, w.dtype, CHANNELS_LAST), be.empty(w.shape[:1], w.dtype)
    by.weight_gradient(be, made["gw"], made["gb"], gy, x, g)
    return {name: be.to_numpy(array) for name, array in made.items()}


@pytest.mark.parametrize(
    ("x", "w", "groups", "direct", "depthwise"),
    [
        ((1, 4, 9, 9), (8, 4, 3, 3), 1, "forward weight_gradient", ""),
        ((1, 5, 9, 9), (8, 5, 3, 3), 1, "", ""),
        ((1, 1, 9, 9), (8, 1, 3, 3), 1, "forward weight_gradient", ""),
        ((1, 4, 40, 40), (8, 4, 1, 127), 1, "forward weight_gradient", ""),
        ((1, 4, 40, 40), (8, 4, 1, 128), 1, "weight_gradient", ""),  # the weights of 8 channels in float64: 48 KB
        ((1, 4, 9, 9), (8, 2, 3, 3), 2, "", ""),
        ((1, 4, 9, 9), (8, 1, 3, 3), 4, "", "forward input_gradient weight_gradient"),
        ((1, 4, 40, 40), (8, 1, 5, 153), 4, "", "forward input_gradient weight_gradient"),
        ((1, 4, 40, 40), (8, 1, 6, 128), 4, "", "forward weight_gradient"),
        ((1, 4, 40, 40), (4, 1, 12, 128), 4, "", "weight_gradient"),
    ],
)
def test_the_kernels_say_what_they_can_make(x, w, groups, direct, depthwise):
    g = geometry(x, w, groups=groups)
    for kernels, expected in ((DIRECT, direct), (DEPTHWISE, depthwise)):
        for product in ("forward", "input_gradient", "weight_gradient"):
            assert kernels.fits(product, g) == (product in expected.split()), (kernels, product)


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
def test_what_fits_in_shared_memory_runs(be, dtype, rng):
    for x_shape, w_shape, groups in (((1, 4, 3, 150), (9, 4, 1, 127), 1), ((1, 3, 40, 60), (6, 1, 39, 19), 3)):
        x, w = (rng.integers(-1, 2, shape).astype(dtype) for shape in (x_shape, w_shape))
        y = ops.conv2d(be.from_numpy(x), be.from_numpy(w), padding=2, groups=groups)
        assert np.array_equal(be.to_numpy(y), ops.conv2d(x, w, padding=2, groups=groups))
