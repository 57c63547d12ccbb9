"""Batch norm on the CPU: passes over blocks of rows that fit the cache, shared by our threads.

A matrix has a row for each pixel and a column for each channel. Sums over rows are products with a row of ones, which
BLAS does several times faster than `np.sum`; what the blocks give is summed in float64, in their order. Within a block,
several rows count as one long row, because NumPy's loops run along rows and have to be started for each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import blas

__all__ = ["input_gradient", "moments", "normalise", "sums"]

_CHUNK = 1 << 16  # elements
_LONG_ROW = 1 << 10

Matrix = npt.NDArray[Any]


def moments(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and biased variance of each column, in float64; 0 for no rows.

    Each block takes deviations from its own mean, twice, so that the rounding of that mean does no harm; blocks are
    merged by the deviations of their means.
    """
    columns, blocks = x.shape[1], _row_blocks(x)
    counts = np.array([block.stop - block.start for block in blocks], np.float64).reshape(-1, 1)
    means, squares = np.zeros((2, len(blocks), columns))

    def reduce(i: int, rows: Matrix) -> None:
        rough = (_column_sums(rows, columns) / counts[i]).astype(x.dtype)
        deviations = rows - np.tile(rough, rows.shape[1] // columns)
        rest = _column_sums(deviations, columns) / counts[i]
        deviations *= deviations
        means[i] = rough + rest
        squares[i] = _column_sums(deviations, columns) - counts[i] * rest * rest

    _for_each_block(reduce, [x], [])
    total = max(len(x), 1)
    mean = (counts * means).sum(axis=0) / total
    return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / total


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
        deviations = x - mean
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


def _row_blocks(matrix: Matrix) -> list[slice]:
    """Cut the rows into blocks whose size, a power of two, depends on the number of columns only."""
    rows, columns = matrix.shape
    step = 1 << max(0, (_CHUNK // max(columns, 1)).bit_length() - 1)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _for_each_block(work: Callable[..., None], matrices: Sequence[Matrix], vectors: Sequence[Matrix]) -> None:
    """Call work(i, *long rows of block i, *values per column, repeated along a long row)."""
    columns, blocks = matrices[0].shape[1], _row_blocks(matrices[0])
    times = [_rows_per_long_row(block.stop - block.start, columns) for block in blocks]
    repeated = {n: [np.tile(vector, n) for vector in vectors] for n in set(times)}

    def run(i: int) -> None:
        pieces = [matrix[blocks[i]].reshape(-1, times[i] * columns) for matrix in matrices]
        work(i, *pieces, *repeated[times[i]])

    blas.parallel(len(blocks), run)


def _rows_per_long_row(rows: int, columns: int) -> int:
    """Return the largest power of two that divides the rows and keeps long rows short enough."""
    count = 1
    while rows % (2 * count) == 0 and 2 * count * columns <= _LONG_ROW:
        count *= 2
    return count


def _column_sums(rows: Matrix, columns: int) -> Matrix:
    """Sum long rows, then the parts of the sum that belong to one column."""
    out = np.empty((1, rows.shape[1]), rows.dtype)
    blas.single(np.ones((1, len(rows)), rows.dtype), rows, out)
    parts: Matrix = out.reshape(-1, columns)
    return parts.sum(axis=0)
