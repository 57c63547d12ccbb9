"""Matrix products by kernels, for linear layers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops import choices, tiles
from gpunet.ops.choices import Choice, Problem

__all__ = ["gemm", "problem_of"]

_TILE = 64  # as in kernels/gemm.cuh


@functools.lru_cache(maxsize=4096)
def problem_of(
    be: KernelBackend, sizes: tuple[int, int, int], order: str, dtype: np.dtype[Any], allow_tf32: bool
) -> Problem:
    """Return a product of rows, columns and depth as tables of choices know it, with the kernels that can make it."""
    m, n, k = sizes
    along_memory = (m if order == "tn" else k, k if order == "nt" else n)
    whole = all(sizes) and not any(size % tiles.chunk(dtype) for size in along_memory)
    able = (*(tiles.able(be, dtype, allow_tf32) if whole else ()), "plain")
    precision = choices.dtype_class(dtype, allow_tf32)
    return Problem("gemm", precision, be.arch, able, rows=m, columns=n, depth=k, order=order)


def gemm(
    be: KernelBackend,
    c: Array,
    a: Array,
    b: Array,
    bias: Array | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    allow_tf32: bool = False,
) -> None:
    """c = a @ b + bias, for dense matrices that may count as transposed (not a alone)."""
    (m, n), k = c.shape, a.shape[0] if transpose_a else a.shape[1]
    order = "tn" if transpose_a else "nt" if transpose_b else "nn"
    choice = choices.choose(be, problem_of(be, (m, n, k), order, c.dtype, allow_tf32))
    if choice.kernel != "plain":
        _tiled_gemm(be, c, a, b, bias, k, order, choice)
        return
    a_strides = (1, a.shape[1]) if transpose_a else (a.shape[1], 1)
    b_strides = (1, b.shape[1]) if transpose_b else (b.shape[1], 1)
    sizes = dict(zip(("a_row", "a_column", "b_row", "b_column"), (*a_strides, *b_strides), strict=True))
    args = (c, a, b, bias, be.struct("gemm.cu", "Gemm", M=m, N=n, K=k, **sizes))
    be.launch("gemm.cu", "gemm", (blocks(m, _TILE), blocks(n, _TILE)), 256, args, REAL=c.dtype)


def _tiled_gemm(
    be: KernelBackend, c: Array, a: Array, b: Array, bias: Array | None, k: int, order: str, choice: Choice
) -> None:
    """Multiply in tiles, in splits of the depth where the tiles alone are too few for a GPU."""
    (m, n), tile = c.shape, choice.tile
    splits, per_split = choice.split(tile.count(m, n), k, c.dtype)
    partials = be.empty((splits, c.size), np.float32) if splits > 1 else None
    a, b = (be.dense(matrix, CONTIGUOUS, tiles.ALIGNMENT) for matrix in (a, b))
    sizes = be.struct("gemm_tiled.cu", "Matrices", M=m, N=n, K=k, per_split=per_split)
    args = (None if splits > 1 else c, partials, a, b, None if splits > 1 else bias, sizes)
    be.launch(
        "gemm_tiled.cu",
        f"tiled_gemm_{order}",
        (blocks(m, tile.rows), blocks(n, tile.columns), splits),
        tile.threads,
        args,
        shared=tile.shared_bytes,
        REAL=c.dtype,
        TILE=tile.macro,
    )
    if partials is not None:
        tiles.sum_splits(be, c, partials, bias, n)
