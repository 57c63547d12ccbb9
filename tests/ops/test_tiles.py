"""Products in tiles: every kernel, dtype and tile on drawn sizes; the plain kernels' bits by multiply-adds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet import ops
from gpunet.backend.dtypes import bfloat16
from gpunet.ops.choices import Choice, force
from gpunet.ops.choices_table import TILED
from gpunet.ops.tiles import FMA_TILES, MMA_TILES

pytestmark = pytest.mark.only_backends("emulated", "cupy")


# Largest error, relative to the largest sum of absolute products.
TOLERANCE = {"FMA": 1e-6, "TF32": 1e-3, "float16": 1e-2, "bfloat16": 1e-2}
COMBINATIONS = [
    (dtype, kernel, tile)
    for kernel, tiles in TILED.items()
    for tile in tiles
    for dtype in (("float32",) if kernel == "fma" else ("float32", "float16", "bfloat16"))
]


def chunked(most):
    """Draw a size along the memory: whole chunks of any dtype."""
    return st.integers(1, most).map(lambda chunks: 8 * chunks)


@st.composite
def layers(draw):
    """Draw a linear layer, ragged in rows; all its products take whole chunks."""
    shapes = {"x": (draw(st.integers(1, 150)), draw(chunked(20))), "w": (draw(chunked(18)),)}
    shapes["w"] += shapes["x"][1:]
    return ops.linear, shapes, {}, draw(st.booleans())


@st.composite
def convolutions(draw):
    """Draw a convolution over one to three axes, strided and dilated or such that a halo fits."""
    axes, halo = draw(st.integers(1, 3)), draw(st.booleans())
    window = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    stride = tuple(1 if halo else draw(st.integers(1, 3)) for _ in range(axes))
    dilation, padding = (tuple(draw(st.integers(least, 2)) for _ in range(axes)) for least in (1, 0))
    if axes == 3 and halo:
        window, padding = (1, *window[1:]), (0, *padding[1:])
    size = tuple(d * (k - 1) + draw(st.integers(1, 9 - 2 * axes)) for k, d in zip(window, dilation, strict=True))
    groups, channels, outputs = draw(st.integers(1, 2)), draw(chunked(6)), draw(chunked(9))
    shapes = {"x": (draw(st.integers(1, 3)), groups * channels, *size), "w": (groups * outputs, channels, *window)}
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (ops.conv1d, ops.conv2d, ops.conv3d)[axes - 1], shapes, attrs, draw(st.booleans())


def check(be, call, dtype, choice, seed):
    """Compare all products of a drawn call, made by one choice where it fits, with float64 on the CPU."""
    op, shapes, attrs, biased = call
    tf32 = choice.kernel != "fma"
    precision = "FMA" if not tf32 else "TF32" if dtype == "float32" else dtype
    rng = np.random.default_rng(seed)
    kind = bfloat16() if dtype == "bfloat16" else np.dtype(dtype)
    x, w = (rng.standard_normal(shape).astype(kind) for shape in (shapes["x"], shapes["w"]))
    b = rng.standard_normal(w.shape[0]).astype(kind) if biased else None
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b)]
    gy = rng.standard_normal(op(*wide, **attrs).shape).astype(kind)

    def products(x, w, b, gy, **more):
        return op(x, w, b, **attrs, **more), *op.grad(gy, x, w, needs=("x", "w"), **attrs, **more)

    expected = products(*wide, gy.astype(np.float64))
    scales = products(*(None if a is None else abs(a) for a in wide), abs(gy.astype(np.float64)))
    device = [None if a is None else be.from_numpy(a) for a in (x, w, b, gy)]
    with force(choice):
        found = products(*device, allow_tf32=tf32)
    for name, got, want, scale in zip("yxw", found, expected, scales, strict=True):
        error = abs(be.to_numpy(got).astype(np.float64) - want).max() / max(scale.max(), 1e-30)
        assert error <= TOLERANCE[precision], (name, error)


@pytest.mark.parametrize(("dtype", "kernel", "tile"), COMBINATIONS, ids=str)
def test_every_kernel_dtype_and_tile_on_drawn_sizes(be, dtype, kernel, tile):
    calls = convolutions() if kernel == "halo" else st.one_of(layers(), convolutions())

    @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(calls, st.integers(0, 3), st.integers(0, 9))
    def run(call, splits, seed):
        check(be, call, dtype, Choice(kernel, tile, splits=splits), seed)

    run()


def results(be, choice):
    """Return all products of a linear layer and of two convolutions, made by one choice where it fits."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return be.from_numpy(rng.standard_normal(shape).astype(np.float32))

    found = []
    with force(choice):
        x, w = normal(70, 40), normal(68, 40)
        y = ops.linear(x, w)
        found += [y, *ops.linear.grad(y, x, w, needs=("x", "w"))]
        for stride in (1, 2):
            x, w = normal(2, 20, 9, 8), normal(36, 20, 3, 3)
            y = ops.conv2d(x, w, stride=stride, padding=1)
            found += [y, *ops.conv2d.grad(y, x, w, needs=("x", "w"), stride=stride, padding=1)]
    return list(map(be.to_numpy, found))


@pytest.mark.parametrize("tile", FMA_TILES, ids=str)
def test_multiply_adds_give_the_bits_of_the_plain_kernels(be, tile):
    expected, actual = results(be, Choice("plain")), results(be, Choice("fma", tile, splits=1))
    for number, (want, got) in enumerate(zip(expected, actual, strict=True)):
        assert np.array_equal(got, want), number


def test_two_runs_give_the_same_bits(be):
    for choice in (Choice("tensor", MMA_TILES[2], splits=2), Choice("fma", FMA_TILES[0], splits=2)):
        first, second = results(be, choice), results(be, choice)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_misaligned_operands_are_copied_not_refused(be):
    x, w = np.ones((3, 8), np.float32), np.arange(41, dtype=np.float32)
    before = be.launched["copy_strided"]
    y = ops.linear(be.from_numpy(x), be.from_numpy(w)[1:].reshape(5, 8))
    assert np.array_equal(be.to_numpy(y), x @ w[1:].reshape(5, 8).T)
    assert be.launched["copy_strided"] == before + 1
