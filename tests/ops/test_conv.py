"""Convolution of any geometry: the CPU path against the reference, whatever the size of its blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops import conv_blocks, im2col

CONVOLUTIONS = {1: ops.conv1d, 2: ops.conv2d, 3: ops.conv3d}
TRANSPOSES = {1: ops.conv_transpose1d, 2: ops.conv_transpose2d, 3: ops.conv_transpose3d}


@st.composite
def geometries(draw):
    """Draw sizes of one convolution: (op, x shape, w shape, attrs)."""
    axes = draw(st.integers(1, 3))
    per_axis = [
        {
            "size": draw(st.integers(1, 9 - 2 * axes)),
            "window": draw(st.integers(1, 4 - (axes == 3))),
            "stride": draw(st.integers(1, 3)),
            "padding": draw(st.integers(0, 3)),
            "dilation": draw(st.integers(1, 2)),
        }
        for _ in range(axes)
    ]
    for a in per_axis:
        assume(a["size"] + 2 * a["padding"] >= a["dilation"] * (a["window"] - 1) + 1)
    groups, channels, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    x = (draw(st.integers(1, 4)), groups * channels, *(a["size"] for a in per_axis))
    w = (groups * outputs, channels, *(a["window"] for a in per_axis))
    attrs = {key: tuple(a[key] for a in per_axis) for key in ("stride", "padding", "dilation")}
    return CONVOLUTIONS[axes], x, w, {**attrs, "groups": groups}


def _axes(x_shape, w_shape, attrs):
    return zip(x_shape[2:], w_shape[2:], attrs["padding"], attrs["dilation"], attrs["stride"], strict=True)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(geometry=geometries(), most_bytes=st.sampled_from([1, 600, im2col._MOST_BYTES]))
def test_any_geometry_agrees_with_the_reference(geometry, most_bytes):
    op, x_shape, w_shape, attrs = geometry
    transpose = TRANSPOSES[len(x_shape) - 2]
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-4, 5, shape).astype(np.float64) for shape in (x_shape, w_shape, w_shape[:1]))
    with pytest.MonkeyPatch.context() as patch:
        conv_blocks.cut.cache_clear()
        patch.setattr(im2col, "_MOST_BYTES", most_bytes)  # blocks of one output, of part of an image, of images
        y = op(x, w, b, **attrs)
        gy = rng.integers(-4, 5, y.shape).astype(np.float64)
        actual = op.grad(gy, x, w, **attrs)
        unseen = tuple((n + 2 * p - d * (k - 1) - 1) % s for n, k, p, d, s in _axes(x_shape, w_shape, attrs))
        c = rng.integers(-4, 5, x_shape[1]).astype(np.float64)
        back = transpose(gy, w, c, output_padding=unseen, **attrs)
        for kind in (type(op), type(transpose)):
            patch.setattr(kind, "cpu", None)
            patch.setattr(kind, "grad_cpu", None)
        expected, expected_gradients = op(x, w, b, **attrs), op.grad(gy, x, w, **attrs)
        expected_back = transpose(gy, w, c, output_padding=unseen, **attrs)
    conv_blocks.cut.cache_clear()
    # Integers: every sum is exact, whatever its order.
    assert np.array_equal(y, expected) and np.array_equal(back, expected_back)
    assert np.array_equal(back - c.reshape(1, -1, *[1] * (x.ndim - 2)), actual[0])
    for name, got, want in zip(op.inputs, actual, expected_gradients, strict=True):
        assert np.array_equal(got, want), f"gradient of {name}"
