"""Matrix products by kernels, for linear layers and matmul."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.backend.layout import coalesce
from gpunet.ops import choices, tiles
from gpunet.ops.activation import relu as rectify
from gpunet.ops.choices import Problem

__all__ = ["gemm", "problem_of", "transposed"]

_TILE = 64  # as in kernels/gemm.cuh
_MOST_LAYERS = 65535  # of a grid, along its last axis


def gemm(
    be: KernelBackend,
    c: Array,
    a: Array,
    b: Array,
    bias: Array | None = None,
    allow_tf32: bool = False,
    relu: bool = False,
) -> None:
    """c = a @ b + bias, for contiguous c (..., M, N), a (..., M, K) and b (..., K, N), whose batches broadcast.

    ReLU may clip c.
    Operands whose rows or columns have no gaps are read in place; for kernels with tiles these must also begin at
    multiples of 16 bytes. Others are copied.
    """
    if not c.size:
        return
    (*batch, m, n), k = c.shape, a.shape[-1]
    order, batches = _order(a, b), math.prod(batch)
    choice = choices.choose(be, _problem(be, (m, n, k), order, c.dtype, allow_tf32, batches))
    tiled = choice.kernel != "plain"
    a, b = (
        be.rows(x if letter == "n" else transposed(x), tiles.ALIGNMENT if tiled else x.itemsize)
        for x, letter in zip((a, b), order, strict=True)
    )
    operands = _Operands(a, b, order, k, _batch_axes(be, tuple(batch), *_batch_of(a), *_batch_of(b)))
    splits, per_split = choice.split(choice.tile.count(m, n) * batches, k, c.dtype) if tiled else (1, k)
    results, step = c.reshape(batches, m, n), _MOST_LAYERS // splits
    for first in range(0, batches, step):
        part = results[first : first + step]
        if tiled:
            _tiled(be, part, operands, bias, first, relu, choice.tile, splits, per_split)
        else:
            _plain(be, part, operands, bias, first)
    if relu and not tiled:
        rectify.cuda(be, c, c)


@dataclass(frozen=True, slots=True)
class _Operands:
    """The operands row by row, a transposed one column by column, and for each the struct that walks its batch."""

    a: Array
    b: Array
    order: str
    depth: int
    walks: list[Any]

    @property
    def steps(self) -> tuple[int, int]:
        """Elements from row to row, or from column to column."""
        return self.a.strides[-2] // self.a.itemsize, self.b.strides[-2] // self.b.itemsize


def problem_of(be: KernelBackend, c: Array, a: Array, b: Array, allow_tf32: bool) -> Problem:
    """Return a product as tables of choices know it, with the kernels that can make it."""
    (*batch, m, n), k = c.shape, a.shape[-1]
    return _problem(be, (m, n, k), _order(a, b), c.dtype, allow_tf32, math.prod(batch))


@functools.lru_cache(maxsize=4096)
def _problem(
    be: KernelBackend,
    sizes: tuple[int, int, int],
    order: str,
    dtype: np.dtype[Any],
    allow_tf32: bool,
    batches: int,
) -> Problem:
    m, n, k = sizes
    along_memory = (m if order[0] == "t" else k, k if order[1] == "t" else n)
    whole = all(sizes) and not any(size % tiles.chunk(dtype) for size in along_memory)
    able = (*(tiles.able(be, dtype, allow_tf32) if whole else ()), "plain")
    precision = choices.dtype_class(dtype, allow_tf32)
    return Problem("gemm", precision, be.arch, able, rows=m, columns=n, depth=k, groups=batches, order=order)


def transposed(x: Array) -> Array:
    """View each matrix of a batch (..., M, N) as (..., N, M)."""
    return x.transpose((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _order(a: Array, b: Array) -> str:
    """Return which operands count as transposed: those whose columns, and not rows, lie without gaps; never both."""
    letters = ("t" if x.strides[-2] == x.itemsize != x.strides[-1] else "n" for x in (a, b))
    order = "".join(letters)
    if order == "tt":  # there is no kernel for it: the smaller one is copied
        return "nt" if a.size <= b.size else "tn"
    return order


def _batch_of(x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the batch's sizes, and its strides in elements."""
    return x.shape[:-2], tuple(step // x.itemsize for step in x.strides[:-2])


@functools.lru_cache(maxsize=4096)
def _batch_axes(be: KernelBackend, batch: tuple[int, ...], *operands: tuple[int, ...]) -> list[Any]:
    """Return for each operand, given as sizes and strides, the struct that walks it as the batch is walked."""
    walks = []
    for sizes, steps in zip(operands[::2], operands[1::2], strict=True):
        missing = [0] * (len(batch) - len(sizes))
        walks.append([*missing, *(0 if n == 1 else step for n, step in zip(sizes, steps, strict=True))])
    merged, *strides = coalesce(batch, *walks)
    return [be.axes(merged, steps) for steps in strides]


def _plain(be: KernelBackend, c: Array, x: _Operands, bias: Array | None, first: int) -> None:
    (batches, m, n) = c.shape
    a, b = ((step, 1) if letter == "n" else (1, step) for step, letter in zip(x.steps, x.order, strict=True))
    strides = dict(zip(("a_row", "a_column", "b_row", "b_column"), (*a, *b), strict=True))
    sizes = be.struct("gemm.cu", "Gemm", M=m, N=n, K=x.depth, first=first, **strides)
    grid = blocks(m, _TILE), blocks(n, _TILE), batches
    be.launch("gemm.cu", "gemm", grid, 256, (c, x.a, x.b, bias, sizes, *x.walks), REAL=c.dtype)


def _tiled(
    be: KernelBackend,
    c: Array,
    x: _Operands,
    bias: Array | None,
    first: int,
    relu: bool,
    tile: tiles.Tile,
    splits: int,
    per_split: int,
) -> None:
    """Multiply in tiles, in splits of the depth where the tiles alone are too few for a GPU."""
    (batches, m, n) = c.shape
    partials = be.empty((splits, c.size), np.float32) if splits > 1 else None
    given = {"M": m, "N": n, "K": x.depth, "per_split": per_split, "batches": batches, "first": first, "relu": relu}
    sizes = be.struct("gemm_tiled.cu", "Matrices", a_line=x.steps[0], b_line=x.steps[1], **given)
    results = (c, None, x.a, x.b, bias) if partials is None else (None, partials, x.a, x.b, None)
    be.launch(
        "gemm_tiled.cu",
        f"tiled_gemm_{x.order}",
        (blocks(m, tile.rows), blocks(n, tile.columns), splits * batches),
        tile.threads,
        (*results, sizes, *x.walks),
        shared=tile.shared_bytes,
        REAL=c.dtype,
        TILE=tile.macro,
    )
    if partials is not None:
        tiles.sum_splits(be, c, partials, bias, n, relu)
