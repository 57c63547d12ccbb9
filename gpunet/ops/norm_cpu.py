"""Batch norm on the CPU: passes over blocks of rows that fit the cache, shared by our threads.

A matrix has a row for each pixel and a column for each channel. Sums over rows are products with a row of ones, which
BLAS does faster than `np.sum`; what the blocks give is summed in float64, in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import blas

__all__ = ["input_gradient", "moments", "normalise", "sums"]

_CHUNK = 1 << 15  # elements

Matrix = npt.NDArray[Any]


def moments(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and biased variance of each column; 0 for no rows.

    Each block takes deviations from its own mean, twice, so that the rounding of that mean does no harm; blocks are
    merged by the deviations of their means.
    """
    blocks = _row_blocks(x)
    counts = np.array([block.stop - block.start for block in blocks], np.float64).reshape(-1, 1)
    means, squares = np.zeros((2, len(blocks), x.shape[1]))

    def reduce(i: int) -> None:
        rows = x[blocks[i]]
        rough = _column_sums(rows) / x.dtype.type(len(rows))
        deviations = rows - rough
        rest = _column_sums(deviations) / counts[i]
        deviations *= deviations
        means[i] = rough + rest
        squares[i] = _column_sums(deviations) - counts[i] * rest * rest

    blas.parallel(len(blocks), reduce)
    total = max(len(x), 1)
    mean = (counts * means).sum(axis=0) / total
    return mean, (squares + counts * (means - mean) ** 2).sum(axis=0) / total


def normalise(y: Matrix, x: Matrix, mean: Matrix, inv_std: Matrix, weight: Matrix | None, bias: Matrix | None) -> None:
    """y = (x - mean) * inv_std * weight + bias."""
    scale = inv_std if weight is None else inv_std * weight

    def work(y: Matrix, x: Matrix) -> None:
        np.subtract(x, mean, out=y)
        y *= scale
        if bias is not None:
            y += bias

    _in_blocks(work, y, x)


def sums(gy: Matrix, x: Matrix, mean: Matrix, inv_std: Matrix) -> tuple[Matrix, Matrix]:
    """Return the column sums of gy and of gy * (x - mean) * inv_std, in float64."""
    blocks = _row_blocks(x)
    gradients, products = np.zeros((2, len(blocks), x.shape[1]))

    def reduce(i: int) -> None:
        gradients[i] = _column_sums(gy[blocks[i]])
        deviations = x[blocks[i]] - mean
        deviations *= gy[blocks[i]]
        products[i] = _column_sums(deviations)

    blas.parallel(len(blocks), reduce)
    return gradients.sum(axis=0), products.sum(axis=0) * inv_std


def input_gradient(
    gx: Matrix, gy: Matrix, x: Matrix, mean: Matrix, scale: Matrix, gradient: Matrix | None, product: Matrix | None
) -> None:
    """gx = (gy - gradient - (x - mean) * product) * scale, the middle terms only where there are any."""
    if gradient is not None and product is not None:
        gradient, product = gradient.astype(x.dtype), product.astype(x.dtype)

    def work(gx: Matrix, gy: Matrix, x: Matrix) -> None:
        if gradient is None:
            np.multiply(gy, scale, out=gx)
            return
        np.subtract(mean, x, out=gx)
        gx *= product
        gx += gy
        gx -= gradient
        gx *= scale

    _in_blocks(work, gx, gy, x)


def _row_blocks(matrix: Matrix) -> list[slice]:
    """Cut the rows into blocks whose size depends on the shape only."""
    rows, columns = matrix.shape
    step = max(1, _CHUNK // max(columns, 1))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _in_blocks(work: Callable[..., None], *matrices: Matrix) -> None:
    blocks = _row_blocks(matrices[0])
    blas.parallel(len(blocks), lambda i: work(*(matrix[blocks[i]] for matrix in matrices)))


def _column_sums(rows: Matrix) -> Matrix:
    out = np.empty((1, rows.shape[1]), rows.dtype)
    blas.single(np.ones((1, len(rows)), rows.dtype), rows, out)
    return out[0]
