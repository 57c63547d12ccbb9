"""Transposed convolution is the transpose of convolution, to the last bit of what integers can show."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops

CASES = [
    ((2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ((2, 3, 7, 8), (5, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}),
    ((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), {"stride": (1, 2, 3), "padding": 1}),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "attrs"), CASES, ids=range(len(CASES)))
def test_it_is_the_transpose_of_convolution(be, x_shape, w_shape, attrs, rng):
    """<conv(x), y> = <x, conv_transpose(y)> for all x and y, with output_padding where conv leaves a border unseen."""
    axes = len(x_shape) - 2
    conv, transpose = getattr(ops, f"conv{axes}d"), getattr(ops, f"conv_transpose{axes}d")
    x, w = (rng.integers(-4, 5, shape).astype(np.float64) for shape in (x_shape, w_shape))
    y_of_x = be.to_numpy(conv(be.from_numpy(x), be.from_numpy(w), **attrs))
    y = rng.integers(-4, 5, y_of_x.shape).astype(np.float64)
    smallest = transpose(be.from_numpy(y), be.from_numpy(w), **attrs).shape
    unseen = tuple(n - m for n, m in zip(x_shape[2:], smallest[2:], strict=True))
    x_of_y = be.to_numpy(transpose(be.from_numpy(y), be.from_numpy(w), **attrs, output_padding=unseen))
    assert x_of_y.shape == x.shape
    assert (y_of_x * y).sum() == (x * x_of_y).sum() != 0


def test_its_gradients_are_those_of_convolution(be, rng):
    x, gy, w = (be.from_numpy(rng.standard_normal(shape)) for shape in ((2, 4, 5, 6), (2, 6, 11, 8), (4, 3, 3, 3)))
    attrs = {"stride": (2, 1), "groups": 2}
    gx, gw, gb = ops.conv_transpose2d.grad(gy, x, w, **attrs)
    assert np.array_equal(be.to_numpy(gx), be.to_numpy(ops.conv2d(gy, w, **attrs)))
    assert np.array_equal(be.to_numpy(gw), be.to_numpy(ops.conv2d_weight(gy, w.shape, x, **attrs)))
    assert np.allclose(be.to_numpy(gb), be.to_numpy(gy).sum(axis=(0, 2, 3)), rtol=1e-13)


def test_positional_arguments_are_pytorchs(be):
    """The order is stride, padding, output_padding, groups, dilation: not that of convolution."""
    x, w = (be.from_numpy(np.ones(shape)) for shape in ((1, 2, 3), (2, 1, 2)))
    y = ops.conv_transpose1d(x, w, None, 2, 1, 1, 2, 3)
    assert y.shape == (1, 2, (3 - 1) * 2 - 2 + 3 * (2 - 1) + 1 + 1)
