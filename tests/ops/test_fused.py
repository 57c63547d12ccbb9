"""Products with an epilogue: the bits of the ops one after the other, by every kind of kernel."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import CHANNELS_LAST
from gpunet.backend.layout import is_dense
from gpunet.errors import ShapeError
from gpunet.ops import conv_blocks, im2col, max_pool_cpu
from gpunet.ops.choices import Choice, force
from gpunet.ops.tiles import FMA_TILES, HALO_TILES, MMA_TILES
from tests.harness.case import FLOATS

CHOICES = [
    Choice("plain"),
    Choice("tensor", MMA_TILES[-1], splits=1),
    Choice("tensor", MMA_TILES[-1], splits=2),
    Choice("fma", FMA_TILES[-1], splits=2),
    Choice("halo", HALO_TILES[-1]),
]
CALLS = [
    (ops.linear, (5, 40), (9, 40), {}),
    (ops.conv1d, (2, 8, 11), (12, 8, 3), {"padding": 1}),
    (ops.conv2d, (2, 3, 9, 8), (8, 3, 3, 3), {"stride": 2}),
    (ops.conv2d, (2, 16, 9, 8), (8, 8, 3, 3), {"padding": 1, "groups": 2}),
    (ops.conv2d, (1, 6, 5, 5), (6, 1, 3, 3), {"groups": 6}),
    (ops.conv3d, (1, 8, 3, 4, 5), (8, 8, 2, 3, 2), {}),
]


def inputs(be, rng, x_shape, w_shape, dtype):
    """Return x, w and b on a device."""
    return [be.from_numpy(rng.standard_normal(shape).astype(dtype)) for shape in (x_shape, w_shape, w_shape[:1])]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_relu_in_the_same_pass_gives_the_bits_of_relu_afterwards(be, dtype, rng):
    for op, x_shape, w_shape, attrs in CALLS:
        x, w, b = inputs(be, rng, x_shape, w_shape, dtype)
        expected = be.to_numpy(ops.relu(op(x, w, b, **attrs, allow_tf32=True)))
        found = be.to_numpy(op(x, w, b, **attrs, allow_tf32=True, activation="relu"))
        assert found.tobytes() == expected.tobytes(), op
        assert 0.2 < np.mean(found == 0) < 0.8


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize("dtype", [np.float32, np.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: f"{choice.kernel}-{choice.splits}")
def test_every_kind_of_kernel_gives_them(be, choice, dtype, rng):
    with force(choice):
        test_relu_in_the_same_pass_gives_the_bits_of_relu_afterwards(be, dtype, rng)


def test_relu_lets_nan_pass(be):
    x = np.array([[np.nan, 1], [1, -1]], np.float32)
    y = ops.linear(be.from_numpy(x), be.from_numpy(np.ones((2, 2), np.float32)), activation="relu")
    assert np.array_equal(be.to_numpy(y), [[np.nan, np.nan], [0, 0]], equal_nan=True)


@pytest.mark.parametrize("op", [ops.linear, ops.conv2d])
def test_what_cannot_be_fused_is_refused(op):
    x = np.ones((1, 2) if op is ops.linear else (1, 2, 1, 1), np.float32)
    with pytest.raises(ValueError, match=r"""or None, got 'gelu'\n.*call the activation on the result"""):
        op(x, x, activation="gelu")
    with pytest.raises(ValueError, match=r"gradients do not go through the activation.\n.*\n.*gy = relu.grad\(gy, y\)"):
        op.grad(op(x, x), x, x, activation="relu")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_pooling_in_the_same_pass_gives_the_bits_of_pooling_afterwards(be, layout, dtype, rng):
    for x_shape, w_shape, attrs in (
        ((2, 16, 9, 8), (8, 8, 3, 3), {"padding": 1, "groups": 2}),
        ((2, 3, 9, 11), (8, 3, 3, 3), {"stride": 2}),
        ((1, 8, 2, 3), (8, 8, 1, 1), {}),
    ):
        x, w, b = inputs(be, rng, x_shape, w_shape, dtype)
        image = ops.conv2d(x, w, b, **attrs, allow_tf32=True)
        pooled, number = ops.max_pool2d.forward(ops.relu(image), 2)
        y, winner = ops.conv2d_max_pool2d(x, w, b, **attrs, layout=layout, allow_tf32=True, activation="relu")
        assert is_dense(y, layout) and is_dense(winner, CHANNELS_LAST)
        assert np.array_equal(be.to_numpy(y), be.to_numpy(pooled))
        gy = be.from_numpy(rng.standard_normal(y.shape).astype(dtype))
        pool = {"kernel_size": 2, "input_size": image.shape}
        expected = ops.relu.grad(ops.max_pool2d.grad(gy, number, **pool), ops.relu(image))
        found = ops.max_pool2d.grad(ops.relu.grad(gy, y), winner, **pool)
        assert np.array_equal(be.to_numpy(found), be.to_numpy(expected)), "gradients agree in either order"


@pytest.mark.only_backends("numpy")
@pytest.mark.parametrize(
    ("x_shape", "outputs", "most", "whole"),
    [
        ((7, 8, 9, 10), 5, im2col._MOST_BYTES, True),
        ((3, 8, 12, 11), 5, 20_000, False),
        ((17, 64, 17, 15), 64, im2col._MOST_BYTES, True),
    ],
    ids=["images", "pieces of images", "minimal filtering"],
)
def test_pooling_in_the_cache_gives_the_bits_of_pooling_afterwards(be, x_shape, outputs, most, whole, rng, monkeypatch):
    """Products of small integers: many are equal, until a bias is added that rounds; some are not numbers."""
    monkeypatch.setattr(im2col, "_MOST_BYTES", most)
    conv_blocks.cut.cache_clear()
    x, w = (rng.integers(-1, 2, shape).astype(np.float32) for shape in (x_shape, (outputs, x_shape[1], 3, 3)))
    b, calls = (1e7 * rng.standard_normal(outputs)).astype(np.float32), []
    x[1, 2, 3, 4] = np.nan
    pooled, number = ops.max_pool2d.forward(ops.relu(ops.conv2d(x, w, b, padding=1)), 2)
    for way in ("rows", "take_tiles"):
        monkeypatch.setattr(conv_blocks.PooledTarget, way, counted(calls, getattr(conv_blocks.PooledTarget, way)))
    y, winner = ops.conv2d_max_pool2d(x, w, b, padding=1, activation="relu")
    conv_blocks.cut.cache_clear()
    assert np.array_equal(y, pooled, equal_nan=True) and np.isnan(y).any()
    assert np.array_equal(winner[pooled > 0], number[pooled > 0])
    assert bool(calls) == whole


@pytest.mark.only_backends("numpy")
def test_dense_arrays_are_pooled_as_windows_are(be, rng):
    """Ties, infinities and several NaN in one window."""
    x = rng.choice([-np.inf, -1.0, 0.0, 2.0, np.inf, np.nan], (5, 3, 8, 6)).astype(np.float32)
    best, winner = ops.max_pool2d.forward(x, 2)
    dense = x.reshape(5, 3, 4, 2, 3, 2).transpose(3, 5, 0, 1, 2, 4).reshape(4, *best.shape)
    found, place = np.empty_like(best), np.empty(best.shape, np.uint8)
    max_pool_cpu.pool_dense(found, place, dense)
    assert np.array_equal(found, best, equal_nan=True) and np.array_equal(place, winner)


def counted(calls, function):
    def call(*args):
        calls.append(args)
        return function(*args)

    return call


def test_an_image_that_is_too_small_to_pool_is_refused(be):
    x = be.from_numpy(np.ones((1, 8, 1, 4), np.float32))
    with pytest.raises(ShapeError, match=r"max_pool2d: the window is larger"):
        ops.conv2d_max_pool2d(x, be.from_numpy(np.ones((8, 8, 1, 1), np.float32)))
