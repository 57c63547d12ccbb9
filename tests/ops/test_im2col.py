"""Convolution on the CPU against naive loops, with blocks cut in every way, and the same bits for any threads."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gpunet.backend import blas
from gpunet.ops import conv_blocks, im2col
from gpunet.ops.conv_blocks import Target
from gpunet.ops.geometry import Geometry


@pytest.fixture(autouse=True)
def default_threads():
    yield
    blas.set_threads(0)


def geometry(
    batch, channels, outputs, groups, in_size, window, stride=(1, 1, 1), padding=(0, 0, 0), dilation=(1, 1, 1)
):
    sizes = zip(in_size, window, stride, padding, dilation, strict=True)
    out_size = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
    return Geometry(batch, channels, outputs, groups, in_size, out_size, window, stride, padding, dilation)


GEOMETRIES = {
    "1-D": geometry(3, 4, 5, 1, (1, 1, 11), (1, 1, 3)),
    "1-D, stride, padding, dilation": geometry(2, 3, 4, 1, (1, 1, 13), (1, 1, 3), (1, 1, 2), (0, 0, 3), (1, 1, 2)),
    "2-D": geometry(3, 5, 7, 1, (1, 7, 6), (1, 3, 2)),
    "2-D, one channel": geometry(4, 1, 6, 1, (1, 9, 7), (1, 3, 3)),
    "2-D, one channel, stride": geometry(2, 1, 3, 1, (1, 9, 8), (1, 3, 2), (1, 2, 3), (0, 1, 0)),
    "2-D, padding beyond the window": geometry(2, 5, 3, 1, (1, 4, 5), (1, 2, 3), (1, 2, 1), (0, 3, 4)),
    "2-D, the stride skips the last pixels": geometry(2, 5, 3, 1, (1, 8, 9), (1, 2, 3), (1, 4, 5)),
    "2-D, stride beyond the window": geometry(2, 5, 3, 1, (1, 11, 10), (1, 2, 1), (1, 4, 3)),
    "2-D, groups": geometry(3, 10, 4, 2, (1, 6, 7), (1, 3, 3), padding=(0, 1, 0)),
    "2-D, depthwise": geometry(2, 6, 12, 6, (1, 7, 6), (1, 3, 2), (1, 2, 1), (0, 1, 1)),
    "2-D, dilation and groups": geometry(2, 6, 9, 3, (1, 9, 11), (1, 3, 2), (1, 1, 2), (0, 2, 1), (1, 2, 3)),
    "2-D, dilation within window rows": geometry(2, 5, 3, 1, (1, 6, 9), (1, 2, 3), (1, 1, 2), (0, 1, 2), (1, 1, 2)),
    "one pixel": geometry(3, 5, 4, 1, (1, 6, 7), (1, 1, 1)),
    "one pixel, padding": geometry(2, 5, 4, 1, (1, 6, 7), (1, 1, 1), padding=(0, 1, 2)),
    "one pixel, stride": geometry(2, 5, 4, 1, (1, 6, 7), (1, 1, 1), (1, 2, 3)),
    "one pixel, groups": geometry(2, 10, 4, 2, (1, 6, 7), (1, 1, 1)),
    "2-D, dilation and stride share a factor": geometry(
        2, 5, 3, 1, (1, 15, 14), (1, 4, 3), (1, 4, 6), (0, 3, 2), (1, 2, 3)
    ),
    "2-D, dilation is a multiple of the stride": geometry(
        2, 5, 3, 1, (1, 13, 14), (1, 3, 3), (1, 2, 2), (0, 1, 4), (1, 4, 2)
    ),
    "3-D": geometry(2, 5, 3, 1, (5, 4, 6), (2, 3, 2), (1, 1, 2), (1, 0, 1)),
    "3-D, everything": geometry(2, 4, 6, 2, (6, 5, 7), (2, 2, 3), (2, 1, 2), (1, 2, 1), (1, 2, 2)),
    "3-D, dilation across whole window rows": geometry(
        2, 5, 3, 1, (5, 7, 6), (2, 3, 2), (1, 2, 3), (1, 0, 1), (2, 3, 1)
    ),
    "one image as large as the window": geometry(1, 5, 3, 1, (1, 3, 2), (1, 3, 2)),
    "no channels": geometry(2, 0, 3, 1, (1, 5, 4), (1, 3, 2), padding=(0, 1, 0)),
    "no outputs": geometry(2, 3, 0, 1, (1, 5, 4), (1, 3, 2), padding=(0, 1, 0)),
    "no images": geometry(0, 5, 3, 1, (1, 5, 5), (1, 3, 3)),
}
every_geometry = pytest.mark.parametrize("g", GEOMETRIES.values(), ids=GEOMETRIES)


def arrays(g, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (g.batch, *g.in_size, g.channels),
        "w": (g.outputs, *g.window, g.channels // g.groups),
        "gy": (g.batch, *g.out_size, g.outputs),
        "b": (g.outputs,),
    }
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def walk(g):
    """Yield output position, output channel, tap, and the input position where that is within the image."""
    for at, tap in itertools.product(np.ndindex(*g.out_size), np.ndindex(*g.window)):
        source = tuple(
            i * s + k * d - p for i, s, k, d, p in zip(at, g.stride, tap, g.dilation, g.padding, strict=True)
        )
        if all(0 <= i < n for i, n in zip(source, g.in_size, strict=True)):
            for o in range(g.outputs):
                first = o // (g.outputs // g.groups) * (g.channels // g.groups)
                yield at, o, tap, source, slice(first, first + g.channels // g.groups)


def naive(g, x, w, gy, b):
    """Return y, gx, gw and gb in float64, one multiplication after the other."""
    x, w, gy = (a.astype(np.float64) for a in (x, w, gy))
    y, gx, gw = np.zeros(gy.shape) + b, np.zeros(x.shape), np.zeros(w.shape)
    for at, o, tap, source, channels in walk(g):
        seen, value = x[(slice(None), *source, channels)], gy[(slice(None), *at, o)]
        y[(slice(None), *at, o)] += (seen * w[(o, *tap)]).sum(axis=1)
        gx[(slice(None), *source, channels)] += value[:, None] * w[(o, *tap)]
        gw[(o, *tap)] += (seen * value[:, None]).sum(axis=0)
    return y, gx, gw, gy.sum(axis=(0, 1, 2, 3))


def fast(g, x, w, gy, b, by=im2col):
    y, gx, gw, gb = (np.full(a.shape, np.nan, a.dtype) for a in (gy, x, w, b))
    by.forward(Target(y, b), x, w, g)
    by.input_gradient(gx, gy, w, g)
    by.weight_gradient(gw, gb, gy, x, g)
    return y, gx, gw, gb


def assert_equals_naive(g, dtype):
    given = arrays(g, dtype)
    magnitudes = naive(g, **{name: np.abs(a) for name, a in given.items()})
    expected = naive(g, **given)
    for name, result, right, magnitude in zip(
        ["y", "gx", "gw", "gb"], fast(g, **given), expected, magnitudes, strict=True
    ):
        assert result.dtype == dtype
        assert (np.abs(result - right) <= 8 * np.finfo(dtype).eps * magnitude).all(), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_geometry
def test_convolution_and_gradients_equal_naive_loops(g, dtype):
    assert_equals_naive(g, dtype)


@pytest.mark.parametrize("most", [1, 700, 2500, 12_000])
@every_geometry
def test_small_blocks_equal_naive_loops(g, most, monkeypatch):
    """The largest block decides whether images, planes, rows or single outputs are cut."""
    monkeypatch.setattr(im2col, "_MOST_BYTES", most)
    assert_equals_naive(g, np.float64)


@pytest.mark.parametrize("most", [1, 700, 2500, 12_000, 1 << 20])
@every_geometry
def test_blocks_cover_every_output_once_in_order(g, most):
    depth = g.taps * g.channels // g.groups
    numbers = np.arange(g.out_pixels).reshape(g.batch, *g.out_size, 1)
    seen = [block.rows(numbers)[:, 0] for block in conv_blocks.cut(g, depth, 8, (7, 1000, most))]
    assert all(np.shares_memory(rows, numbers) for rows in seen)
    np.testing.assert_array_equal(np.concatenate([*seen, numbers[:0].ravel()]), np.arange(g.out_pixels))
    assert all(len(rows) == 1 or len(rows) * depth * 8 <= most for rows in seen)


def test_a_long_signal_is_cut():
    g = geometry(1, 64, 64, 1, (1, 1, 200_000), (1, 1, 9))
    blocks = conv_blocks.cut(g, 576, 4, (384, 1 << 18, im2col._MOST_BYTES))
    assert len(blocks) > 100
    assert max(math.prod(block.pixels) for block in blocks) * 576 * 4 <= im2col._MOST_BYTES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "g",
    [
        geometry(37, 16, 24, 1, (1, 15, 13), (1, 3, 3), padding=(0, 1, 1)),
        geometry(33, 1, 8, 1, (1, 28, 28), (1, 3, 3)),
        geometry(3, 8, 12, 2, (1, 70, 65), (1, 5, 3), (1, 2, 1)),
    ],
    ids=["images", "one channel", "rows and groups"],
)
def test_any_number_of_threads_gives_the_same_bits(g, dtype):
    given = arrays(g, dtype)
    results = []
    for count in (1, 2, 2, 3):
        blas.set_threads(count)
        results.append(b"".join(array.tobytes() for array in fast(g, **given)))
    assert len(set(results)) == 1


def test_the_bias_is_optional_in_both_directions(rng):
    g = GEOMETRIES["2-D, groups"]
    given = arrays(g, np.float64)
    y, _, gw, _ = fast(g, **given)
    without, gw_alone = np.empty_like(y), np.empty_like(gw)
    im2col.forward(Target(without), given["x"], given["w"], g)
    im2col.weight_gradient(gw_alone, None, given["gy"], given["x"], g)
    np.testing.assert_array_equal(without + given["b"], y)
    np.testing.assert_array_equal(gw_alone, gw)


@pytest.mark.parametrize(
    "name", ["2-D, stride beyond the window", "2-D, groups", "2-D, the stride skips the last pixels"]
)
def test_a_bias_goes_to_every_pixel_of_the_input_gradient(name, rng):
    """Transposed convolution adds it, also where no filter reaches."""
    g = GEOMETRIES[name]
    given, bias = arrays(g, np.float64), rng.standard_normal(g.channels)
    gx, without = np.empty_like(given["x"]), np.empty_like(given["x"])
    im2col.input_gradient(without, given["gy"], given["w"], g)
    im2col.input_gradient(gx, given["gy"], given["w"], g, bias)
    np.testing.assert_allclose(gx, without + bias, rtol=0, atol=1e-14)


def test_gradients_of_no_images_are_zero():
    g = GEOMETRIES["no images"]
    _, _, gw, gb = fast(g, **arrays(g, np.float32))
    assert not gw.any() and not gb.any()


def test_inputs_are_left_alone_and_may_be_read_only():
    g = GEOMETRIES["3-D, everything"]
    given = arrays(g, np.float64)
    copies = {name: array.copy() for name, array in given.items()}
    for array in given.values():
        array.flags.writeable = False
    fast(g, **given)
    assert all((array == copies[name]).all() for name, array in given.items())


def test_padding_stays_zero_when_buffers_are_reused():
    """Values that are not numbers, left in a buffer by one call, must not reach the next."""
    g = GEOMETRIES["2-D, padding beyond the window"]
    given = arrays(g, np.float64)
    expected = [array.copy() for array in fast(g, **given)]
    fast(g, **{name: np.full_like(array, np.nan) for name, array in given.items()})
    for result, right in zip(fast(g, **given), expected, strict=True):
        np.testing.assert_array_equal(result, right)


def test_channels_within_a_few_are_copied_along_the_rows():
    """Both orders of the columns give the same products."""
    few, many = (geometry(2, c, 5, 1, (1, 8, 7), (1, 3, 3)) for c in (im2col._FEW_CHANNELS, im2col._FEW_CHANNELS + 1))
    for g, taps_first in ((few, True), (many, False)):
        x = arrays(g, np.float32)["x"]
        columns = im2col._columns(x, (2, *g.out_size), g, slice(0, g.channels))
        assert columns.shape == (g.out_pixels, 9 * g.channels)
        assert columns.flags.f_contiguous == taps_first and columns.flags.c_contiguous != taps_first
        assert_equals_naive(g, np.float64)
