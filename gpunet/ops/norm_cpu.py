"""Batch norm on the CPU: passes over blocks of rows, shared by our threads.

A matrix has a row for each pixel and a column for each channel. Sums over rows are products with a row of ones, which
BLAS does several times faster than `np.sum`; what the blocks give is summed in float64, in their order. Within a block,
several rows count as one long row, because NumPy's loops run along rows and have to be started for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import blas, pool
from gpunet.ops.elementwise import pieces

__all__ = ["input_gradient", "moments", "normalise", "sums"]

_LONG_ROW = 1 << 11  # elements

Matrix = npt.NDArray[Any]


def moments(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and biased variance of each column, in float64; 0 for no rows.

    Each place in the long rows of a block is a group, which takes deviations from its own mean, twice, so that the
    rounding of that mean does no harm; groups are merged by the deviations of their means.
    """
    columns, blocks = x.shape[1], _row_blocks(x)
    counts = np.zeros((len(blocks), _rows_per_long_row(columns), 1))
    means, squares = np.zeros((2, *counts.shape[:2], columns))

    def reduce(i: int, rows: Matrix) -> None:
        count, group = len(rows), (i, slice(rows.shape[1] // columns))
        rough = blas.column_sums(rows) / count
        deviations = np.subtract(rows, rough, out=pool.allocate(rows.shape, rows.dtype))
        rest = blas.column_sums(deviations) / count
        deviations *= deviations
        counts[group] = count
        means[group] = rough.reshape(-1, columns)
        means[group] += rest.reshape(-1, columns)
        squares[group] = (blas.column_sums(deviations) - count * rest * rest).reshape(-1, columns)

    _for_each_block(reduce, [x], [])
    total = max(len(x), 1)
    mean = (counts * means).sum(axis=(0, 1)) / total
    means -= mean
    means *= means
    means *= counts
    squares += means
    return mean, squares.sum(axis=(0, 1)) / total


def normalise(y: Matrix, x: Matrix, mean: Matrix, inv_std: Matrix, weight: Matrix | None, bias: Matrix | None) -> None:
    """y = (x - mean) * inv_std * weight + bias."""

    def work(i: int, y: Matrix, x: Matrix, mean: Matrix, scale: Matrix, *bias: Matrix) -> None:
        np.subtract(x, mean, out=y)
        y *= scale
        if bias:
            y += bias[0]

    scale = inv_std if weight is None else inv_std * weight
    _for_each_block(work, [y, x], [mean, scale] if bias is None else [mean, scale, bias])


def sums(gy: Matrix, x: Matrix, mean: Matrix, inv_std: Matrix) -> tuple[Matrix, Matrix]:
    """Return the column sums of gy and of gy * (x - mean) * inv_std, in float64."""
    gradients, products = np.zeros((2, len(_row_blocks(x)), x.shape[1]))

    def reduce(i: int, gy: Matrix, x: Matrix, mean: Matrix) -> None:
        gradients[i] = _column_sums(gy, gradients.shape[1])
        deviations = np.subtract(x, mean, out=pool.allocate(x.shape, x.dtype))
        deviations *= gy
        products[i] = _column_sums(deviations, gradients.shape[1])

    _for_each_block(reduce, [gy, x], [mean])
    return gradients.sum(axis=0), products.sum(axis=0) * inv_std


def input_gradient(gx: Matrix, gy: Matrix, x: Matrix, scale: Matrix, mean: Matrix, *terms: Matrix) -> None:
    """gx = (gy - gradient - (x - mean) * product) * scale, where gradient and product are the terms; without any, they
    are 0.
    """

    def work(i: int, gx: Matrix, gy: Matrix, x: Matrix, scale: Matrix, mean: Matrix, *terms: Matrix) -> None:
        if not terms:
            np.multiply(gy, scale, out=gx)
            return
        gradient, product = terms
        np.subtract(mean, x, out=gx)
        gx *= product
        gx += gy
        gx -= gradient
        gx *= scale

    _for_each_block(work, [gx, gy, x], [scale, mean, *(term.astype(x.dtype) for term in terms)])


def _rows_per_long_row(columns: int) -> int:
    return max(1, _LONG_ROW // max(columns, 1))


def _row_blocks(matrix: Matrix) -> list[slice]:
    """Cut the rows into blocks of whole long rows, and one of what is left."""
    rows, columns = matrix.shape
    together = _rows_per_long_row(columns)
    whole = rows // together
    blocks = [slice(p.start * together, p.stop * together) for p in pieces(whole, together * columns)]
    return blocks if whole * together == rows else [*blocks, slice(whole * together, rows)]


def _for_each_block(work: Callable[..., None], matrices: Sequence[Matrix], vectors: Sequence[Matrix]) -> None:
    """Call work(i, *long rows of block i, *values per column, repeated along a long row)."""
    (rows, columns), blocks = matrices[0].shape, _row_blocks(matrices[0])
    together = _rows_per_long_row(columns)
    repeated = [np.tile(vector, together) for vector in vectors]

    def run(i: int) -> None:
        width = min(together, blocks[i].stop - blocks[i].start) * columns  # what is left is one shorter row
        parts = [matrix[blocks[i]].reshape(-1, width) for matrix in matrices]
        work(i, *parts, *(vector[:width] for vector in repeated))

    left = int(rows % together > 0)
    blas.parallel(len(blocks) - left, run)
    blas.parallel(left, lambda _: run(len(blocks) - 1))  # too little for a thread


def _column_sums(rows: Matrix, columns: int) -> Matrix:
    """Sum long rows, then the parts of the sum that belong to one column; in float64."""
    return np.add.reduce(blas.column_sums(rows).reshape(-1, columns), axis=0)
