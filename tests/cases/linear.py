"""Cases of linear layers."""

from __future__ import annotations

import functools

import numpy as np

from gpunet.ops import linear
from gpunet.ops.choices import Choice, force
from gpunet.ops.gemm import gemm
from gpunet.ops.tiles import FMA_TILES, MMA_TILES
from tests.harness.case import Case, Special, assert_close


def linear_case(x, w, b=True, forward=("gemm",), gx=("gemm",), gw=("gemm",), id="", **attrs):
    """Return a case; `forward`, `gx` and `gw` name the kernels launched. With an activation, there is no gradient."""
    counts = {"x": dict.fromkeys(gx, 1), "w": dict.fromkeys(gw, 1), **({"b": {"sum_axes": 1}} if b else {})}
    if "activation" in attrs:
        counts = {}
    return Case(
        linear,
        {"x": x, "w": w, "b": w[:1] if b else None},
        dict.fromkeys(forward, 1),
        counts,
        attrs,
        torch=lambda torch, x, w, b, activation="clone", **attrs: getattr(torch, activation)(
            torch.nn.functional.linear(x, w, b)
        ),
        id=id,
    )


TILED = {"forward": ("tiled_gemm_nt",), "gx": ("tiled_gemm_nn",), "gw": ("tiled_gemm_tn",)}

CASES = [
    linear_case((7, 5), (6, 5)),
    linear_case((2, 35, 19), (67, 19), b=False, id="ragged-tiles"),
    linear_case((2, 3, 0), (4, 0), gx=(), gw=(), id="no-features"),
    linear_case((3, 12), (20, 12), id="fma", **TILED),
    linear_case((67, 40), (72, 40), b=False, id="fma-ragged-tiles", **TILED),
    linear_case((3, 12), (20, 12), id="tensor", **TILED, allow_tf32=True),
    linear_case((67, 40), (72, 40), b=False, id="tensor-ragged-tiles", **TILED, allow_tf32=True),
    linear_case(
        (5, 264),
        (16, 264),
        forward=("tiled_gemm_nt", "sum_splits"),
        gx=("tiled_gemm_nn",),
        gw=("tiled_gemm_tn",),
        id="tensor-splits",
        allow_tf32=True,
    ),
    linear_case((6, 8), (7, 8), forward=("tiled_gemm_nt",), id="tensor-forward-only", allow_tf32=True),
    linear_case((7, 5), (6, 5), forward=("gemm", "relu_forward"), id="relu", activation="relu"),
    linear_case((3, 12), (20, 12), forward=("tiled_gemm_nt",), id="fma-relu", activation="relu"),
    linear_case((6, 8), (7, 8), forward=("tiled_gemm_nt",), id="tensor-relu", allow_tf32=True, activation="relu"),
    linear_case(
        (5, 264),
        (16, 264),
        forward=("tiled_gemm_nt", "sum_splits"),
        id="tensor-splits-relu",
        allow_tf32=True,
        activation="relu",
    ),
]


def transposed(order, a, b):
    """View the operands that lie transposed as the product takes them."""
    return a.T if order == "tn" else a, b.T if order == "nt" else b


def every_tile_makes_every_product(be):
    """More than one tile and slice along each axis, all of them ragged; alone and in splits."""
    rng = np.random.default_rng(5)
    m, n, k = 132, 68, 72
    for tile in (*MMA_TILES, *FMA_TILES):
        kernel = "tensor" if tile in MMA_TILES else "fma"
        for order, splits in (("nt", 1), ("nt", 2), ("nn", 2), ("tn", 2)):
            a = np.round(rng.standard_normal((k, m) if order == "tn" else (m, k)), 1).astype(np.float32)
            b = np.round(rng.standard_normal((n, k) if order == "nt" else (k, n)), 1).astype(np.float32)
            bias, c = rng.standard_normal(n).astype(np.float32), be.empty((m, n), np.float32)
            with force(Choice(kernel, tile, splits=splits)):
                gemm(be, c, *transposed(order, be.from_numpy(a), be.from_numpy(b)), be.from_numpy(bias), True)
            left, right = transposed(order, a.astype("f8"), b.astype("f8"))
            expected, magnitude = left @ right + bias, np.max(abs(left) @ abs(right))
            assert_close(be.to_numpy(c), expected, magnitude, f"{order} {tile.macro} {splits}", tile in MMA_TILES)


def tensor_cores_take_floats_rounded_to_nearest(be):
    """Floats with more bits than TF32 keeps, ties among them, times small integers: exact sums of rounded factors."""
    rng = np.random.default_rng(6)

    def fine(shape):
        return (1 + rng.integers(0, 1 << 14, shape) / (1 << 13)).astype(np.float32)

    def rounded(a):
        return ((a.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)

    m, n, k = 12, 40, 24
    for order in ("nt", "nn", "tn"):
        shapes = (k, m) if order == "tn" else (m, k), (n, k) if order == "nt" else (k, n)
        for make_a, make_b in ((fine, integers := functools.partial(rng.integers, -4, 5)), (integers, fine)):
            a, b = (np.asarray(make(shape), np.float32) for make, shape in zip((make_a, make_b), shapes, strict=True))
            c = be.empty((m, n), np.float32)
            gemm(be, c, *transposed(order, be.from_numpy(a), be.from_numpy(b)), allow_tf32=True)
            left, right = transposed(order, rounded(a).astype(np.float64), rounded(b).astype(np.float64))
            assert np.array_equal(be.to_numpy(c), left @ right), (order, make_a)


KERNELS = ("tiled_gemm_nt", "tiled_gemm_nn", "tiled_gemm_tn", "sum_splits")
SPECIALS = [
    Special(KERNELS, every_tile_makes_every_product),
    Special(KERNELS[:3], tensor_cores_take_floats_rounded_to_nearest),
]
