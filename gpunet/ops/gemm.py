"""Matrix products by kernels, for linear layers."""

from __future__ import annotations

import numpy as np

from gpunet.backend import CONTIGUOUS, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops import tensor_cores

__all__ = ["gemm"]

_TILE = 64  # as in kernels/gemm.cuh


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
    along_memory = (m if transpose_a else k, k if transpose_b else n)
    chunk = tensor_cores.chunk(c.dtype)
    if c.size and k and tensor_cores.usable(be, c.dtype, allow_tf32) and not any(size % chunk for size in along_memory):
        _tensor_gemm(be, c, a, b, bias, k, "tn" if transpose_a else "nt" if transpose_b else "nn")
        return
    a_strides = (1, a.shape[1]) if transpose_a else (a.shape[1], 1)
    b_strides = (1, b.shape[1]) if transpose_b else (b.shape[1], 1)
    sizes = dict(zip(("a_row", "a_column", "b_row", "b_column"), (*a_strides, *b_strides), strict=True))
    args = (c, a, b, bias, be.struct("gemm.cu", "Gemm", M=m, N=n, K=k, **sizes))
    be.launch("gemm.cu", "gemm", (blocks(m, _TILE), blocks(n, _TILE)), 256, args, REAL=c.dtype)


def _tensor_gemm(be: KernelBackend, c: Array, a: Array, b: Array, bias: Array | None, k: int, order: str) -> None:
    """Multiply on tensor cores, in splits of the depth where the tiles alone are too few for a GPU."""
    m, n = c.shape
    tile = tensor_cores.choose_tile(m, n)
    splits, per_split = tensor_cores.splits_of(tile.count(m, n), k, tile.depth(c.dtype))
    partials = be.empty((splits, c.size), np.float32) if splits > 1 else None
    a, b = (be.dense(matrix, CONTIGUOUS, tensor_cores.ALIGNMENT) for matrix in (a, b))
    sizes = be.struct("gemm_tensor.cu", "Matrices", M=m, N=n, K=k, per_split=per_split)
    args = (None if splits > 1 else c, partials, a, b, None if splits > 1 else bias, sizes)
    be.launch(
        "gemm_tensor.cu",
        f"tensor_gemm_{order}",
        (blocks(m, tile.rows), blocks(n, tile.columns), splits),
        tile.threads,
        args,
        shared=tile.shared_bytes,
        REAL=c.dtype,
        TILE=tile.macro,
    )
    if partials is not None:
        tensor_cores.sum_splits(be, c, partials, bias, n)
