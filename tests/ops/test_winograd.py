"""Minimal filtering against naive loops and plain sums: odd sizes, any padding, blocks cut anywhere, any threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import blas
from gpunet.ops import im2col, winograd
from gpunet.ops.conv_blocks import Target
from tests.ops.test_im2col import arrays, fast, geometry, naive

GEOMETRIES = {
    "even": geometry(3, 5, 7, 1, (1, 8, 6), (1, 3, 3), padding=(0, 1, 1)),
    "odd height": geometry(2, 5, 7, 1, (1, 7, 6), (1, 3, 3), padding=(0, 1, 1)),
    "odd width, no padding": geometry(2, 4, 3, 1, (1, 6, 9), (1, 3, 3)),
    "both odd, full padding": geometry(2, 3, 4, 1, (1, 5, 7), (1, 3, 3), padding=(0, 2, 2)),
    "padding differs": geometry(2, 3, 4, 1, (1, 6, 5), (1, 3, 3), padding=(0, 2, 0)),
    "one output": geometry(1, 2, 3, 1, (1, 3, 3), (1, 3, 3)),
    "one row of outputs": geometry(1, 2, 3, 1, (1, 3, 9), (1, 3, 3)),
}
every_geometry = pytest.mark.parametrize("g", GEOMETRIES.values(), ids=GEOMETRIES)


@pytest.fixture(autouse=True)
def default_threads():
    yield
    blas.set_threads(0)
    winograd._blocks.cache_clear()


def assert_equals_naive(g, dtype, times=24):
    given = arrays(g, dtype)
    magnitudes = naive(g, **{name: np.abs(array) for name, array in given.items()})
    results, expected = fast(g, **given, by=winograd), naive(g, **given)
    for name, result, right, magnitude in zip(("y", "gx", "gw", "gb"), results, expected, magnitudes, strict=True):
        assert result.dtype == dtype
        error = np.abs(result - right).max() / magnitude.max()
        assert error <= times * np.finfo(dtype).eps, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_geometry
def test_values_and_gradients_equal_naive_loops(g, dtype):
    assert winograd.fits(g)
    assert_equals_naive(g, dtype)


@pytest.mark.parametrize(("tiles", "most"), [(1, 1), (3, 2000), (1, 7000), (9, 1 << 20)])
@every_geometry
def test_blocks_may_be_cut_anywhere(g, tiles, most, monkeypatch):
    """One tile, a row of tiles, one image, several images; outputs of a single tile are not adjacent in memory."""
    winograd._blocks.cache_clear()
    monkeypatch.setattr(winograd, "_TILES", tiles)
    monkeypatch.setattr(winograd, "_BYTES", most)
    assert_equals_naive(g, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    g = geometry(37, 16, 24, 1, (1, 15, 13), (1, 3, 3), padding=(0, 1, 1))
    given, results = arrays(g, dtype), set()
    for count in (1, 2, 2, 3):
        blas.set_threads(count)
        results.add(b"".join(array.tobytes() for array in fast(g, **given, by=winograd)))
    assert len(winograd._blocks(g, np.dtype(dtype).itemsize)) > 5
    assert len(results) == 1


def test_errors_are_those_of_plain_sums(rng):
    """With many channels, in float32, against float64: no digit is lost."""
    g = geometry(4, 128, 128, 1, (1, 16, 16), (1, 3, 3), padding=(0, 1, 1))
    given = arrays(g, np.float32)
    exact = fast(g, **{name: array.astype(np.float64) for name, array in given.items()})
    errors = {
        by: [float(np.abs(a - b).max()) for a, b in zip(fast(g, **given, by=by), exact, strict=True)]
        for by in (im2col, winograd)
    }
    for plain, minimal in zip(errors[im2col], errors[winograd], strict=True):
        assert minimal <= 3 * plain


@pytest.mark.parametrize("relu", [False, True])
def test_bias_and_relu_in_any_memory(relu):
    g = GEOMETRIES["both odd, full padding"]
    given = arrays(g, np.float64)
    plain, strided = np.empty_like(given["gy"]), np.full((g.batch, 1, 14, 27, g.outputs), np.nan)[:, :, ::2, ::3]
    winograd.forward(Target(plain), given["x"], given["w"], g)
    winograd.forward(Target(strided, given["b"], relu), given["x"], given["w"], g)
    expected = plain + given["b"]
    np.testing.assert_array_equal(strided, np.maximum(expected, 0) if relu else expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": (1, 3, 2)},
        {"stride": (1, 2, 1)},
        {"dilation": (1, 1, 2)},
        {"groups": 2},
        {"padding": (0, 3, 1)},
        {"padding": (1, 1, 1), "out_size": (3, 16, 16)},
        {"in_size": (3, 16, 16), "out_size": (3, 16, 16)},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_other_convolutions_do_not_fit(changes):
    usual = geometry(8, 64, 64, 1, (1, 16, 16), (1, 3, 3), padding=(0, 1, 1))
    assert winograd.fits(usual)
    assert not winograd.fits(replace(usual, **changes))


def test_it_is_chosen_by_shape_only_and_conv2d_uses_it(rng, monkeypatch):
    used = []
    for direction in ("forward", "input_gradient", "weight_gradient"):
        monkeypatch.setattr(winograd, direction, lambda *args, direction=direction: used.append(direction))

    def directions(images, channels, outputs):
        used.clear()
        x, w = np.ones((images, channels, 16, 16)), np.ones((outputs, channels, 3, 3))
        y = ops.conv2d(x, w, padding=1)
        ops.conv2d.grad(y, x, w, padding=1)
        return used

    assert directions(16, 64, 64) == ["forward", "input_gradient", "weight_gradient"]
    assert directions(16, 32, 64) == directions(16, 64, 32) == ["forward", "input_gradient"]
    for too_small in ((15, 64, 64), (16, 63, 63), (16, 31, 64), (16, 64, 31)):
        assert directions(*too_small) == []
