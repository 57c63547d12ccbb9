"""Cases of matrix products of vectors, matrices and batches."""

from __future__ import annotations

from unittest import mock

import numpy as np

from gpunet.ops import gemm, matmul
from gpunet.ops.choices import Choice, force
from gpunet.ops.tiles import FMA_TILES, MMA_TILES
from tests.harness.case import Case, Special, assert_close

SUMMED = ("gemm", "sum_axes")


def matmul_case(a, b, forward=("gemm",), ga=("gemm",), gb=("gemm",), id="", **attrs):
    """Return a case; `forward`, `ga` and `gb` name the kernels launched."""
    return Case(
        matmul,
        {"a": a, "b": b},
        dict.fromkeys(forward, 1),
        {"a": dict.fromkeys(ga, 1), "b": dict.fromkeys(gb, 1)},
        attrs,
        torch=lambda torch, a, b, **attrs: torch.matmul(a, b),
        id=id,
    )


TILED = {"forward": ("tiled_gemm_nn",), "ga": ("tiled_gemm_nt",), "gb": ("tiled_gemm_tn",)}

CASES = [
    matmul_case((3, 5), (5, 6)),
    matmul_case((67, 19), (19, 70), id="ragged-tiles"),
    matmul_case((7,), (7,), id="vectors"),
    matmul_case((8,), (8,), forward=("tiled_gemm_nt",), id="fma-vectors"),
    matmul_case((2, 3, 5), (5,), id="batch-vector"),
    matmul_case((5,), (2, 5, 3), ga=SUMMED, id="vector-batch"),
    matmul_case((2, 3, 5), (5, 6), id="batch-matrix"),
    matmul_case((3, 5), (2, 5, 6), ga=SUMMED, id="matrix-batch"),
    matmul_case((2, 3, 5), (2, 5, 6), id="batches"),
    matmul_case((2, 1, 3, 5), (4, 5, 2), ga=SUMMED, gb=SUMMED, id="batches-broadcast"),
    matmul_case((2, 1, 3, 5), (2, 1, 5, 2), id="batches-of-one"),
    matmul_case((2, 3, 0), (2, 0, 4), ga=(), gb=(), id="no-depth"),
    matmul_case((2, 4, 8), (2, 8, 12), id="fma-batches", **TILED),
    matmul_case((3, 67, 40), (3, 40, 72), id="tensor-batches", allow_tf32=True, **TILED),
    matmul_case(
        (2, 1, 4, 8),
        (3, 8, 12),
        forward=("tiled_gemm_nn",),
        ga=("tiled_gemm_nt", "sum_axes"),
        gb=("tiled_gemm_tn", "sum_axes"),
        id="tensor-batches-broadcast",
        allow_tf32=True,
    ),
]


def operands_are_read_in_place(be):
    """Heads of attention, transposed ones among them, and one matrix for many, by each kernel: nothing is copied."""
    rng = np.random.default_rng(7)
    heads = np.round(rng.standard_normal((2, 3, 12, 4, 8)), 1).astype(np.float32)  # what, batch, token, head, feature
    one = np.round(rng.standard_normal((12, 8)), 1).astype(np.float32)
    on_device = be.from_numpy(heads)
    for choice in (Choice("plain"), Choice("fma", FMA_TILES[-1]), Choice("tensor", MMA_TILES[-1], splits=2)):
        for make in (
            lambda x, one: (x[0].transpose(0, 2, 1, 3), x[1].transpose(0, 2, 3, 1)),  # nt
            lambda x, one: (x[0].transpose(0, 2, 3, 1), x[1].transpose(0, 2, 1, 3)),  # tn
            lambda x, one: (one.T, x[1].transpose(0, 2, 1, 3)),  # tn
            lambda x, one: (x[0].transpose(0, 2, 1, 3), one.T),  # nt
            lambda x, one: (one[:, 4:], x[0, :, :4].transpose(0, 2, 1, 3)),  # nn
        ):
            a, b = make(on_device, be.from_numpy(one))
            before = be.launched.copy()
            with force(choice):
                c = matmul(a, b, allow_tf32=True)
            assert not any("copy" in kernel for kernel in be.launched - before)
            left, right = (x.astype(np.float64) for x in make(heads, one))
            magnitude = np.max(abs(left) @ abs(right))
            assert_close(be.to_numpy(c), left @ right, magnitude, str(choice), choice.kernel == "tensor")


def two_transposed_operands_cost_one_copy(be):
    rng = np.random.default_rng(8)
    for k, m, n in ((8, 12, 20), (8, 20, 12), (7, 5, 6)):
        a, b = rng.integers(-3, 4, (k, m)).astype(np.float32), rng.integers(-3, 4, (n, k)).astype(np.float32)
        before = be.launched.copy()
        c = matmul(be.from_numpy(a).T, be.from_numpy(b).T)
        assert np.array_equal(be.to_numpy(c), a.T @ b.T)
        kernel = "gemm" if k == 7 else f"tiled_gemm_{'nt' if m < n else 'tn'}"
        assert be.launched - before == {kernel: 1, "copy_strided" if k == 7 else "copy_transposed": 1}


def batches_beyond_a_grid_take_several_launches(be):
    rng = np.random.default_rng(9)
    a, b = rng.integers(-3, 4, (5, 1, 4, 16)), rng.integers(-3, 4, (3, 16, 8))
    bias, choices = rng.integers(-3, 4, 8).astype(np.float32), (Choice("plain"), Choice("fma", FMA_TILES[-1], splits=1))
    a, b = a.astype(np.float32), b.astype(np.float32)
    for choice in (*choices, Choice("fma", FMA_TILES[-1], splits=3)):
        c = be.empty((5, 3, 4, 8), np.float32)
        with force(choice), mock.patch.object(gemm, "_MOST_LAYERS", 8):
            gemm.gemm(be, c, *map(be.from_numpy, (a, b, bias)))
        assert np.array_equal(be.to_numpy(c), a @ b + bias), choice


KERNELS = ("gemm", "tiled_gemm_nt", "tiled_gemm_nn", "tiled_gemm_tn")
SPECIALS = [
    Special(KERNELS, operands_are_read_in_place),
    Special((*KERNELS[:2], KERNELS[3]), two_transposed_operands_cost_one_copy),
    Special(("gemm", "tiled_gemm_nn", "sum_splits"), batches_beyond_a_grid_take_several_launches),
]
