"""Embedding: rows of a table by their indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks, power_of_two
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out
from gpunet.ops.reduce import sum_partials

__all__ = ["embedding"]

_THREADS, _ROWS, _COLUMNS = 256, 16, 256  # as in kernels/embedding.cu
_BLOCKS, _LEAST_INDICES = 1024, 1024  # that fill a large GPU; of a split


class Embedding(Op):
    """Rows of a table by their indices.

        y[..., d] = weight[indices[...], d]
        gw[v, d] = sum of gy[n, d] over all n with indices[n] = v, in the order of n; 0 for v = padding_idx

    Args:
        weight: (V, D), any float dtype.
        indices: any shape, int64, in [0, V).
        padding_idx: a row whose gradient is zero; negative ones count from the end.

    Returns:
        (..., D), dtype of weight, contiguous.

    Raises:
        ShapeError: the weight is no matrix.
        DTypeError: the weight is not floating-point, or the indices are not int64.
        ValueError: there is no row padding_idx.
        IndexError: an index is out of range. On a GPU it is raised by the next read from the device, its row is zero,
            and optimizers leave the weights as they were.

    Memory: the gradient reads the indices, and is told the shape of weight by `input_size`. It has the size of the
        weight; on a GPU, where that is small, up to 32 MB hold the sums of parts of the indices. There each 16 rows x
        256 columns of it take one pass over the indices, so that its time grows with V * D * indices.size / 4096.

    Example:
        >>> embedding(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([1, 1, 0]))
        array([[2., 3.],
               [2., 3.],
               [0., 1.]])
    """

    name, inputs, gradients, saves = "embedding", ("weight", "indices"), ("weight",), ("indices",)
    axes = {"weight": "VD"}

    def bind(
        self,
        weight: Array,
        indices: Array,
        padding_idx: int | None = None,
        *,
        input_size: Sequence[int] | None = None,
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        size = arguments.input_size(self.name, weight, input_size)
        return (weight, indices), {"padding_idx": padding_row(self.name, padding_idx, size), "input_size": size}

    def infer(self, weight: Array, indices: Array, **attrs: Any) -> tuple[Out]:
        self.require_floats(weight=weight)
        if weight.ndim != 2:
            expected = f"weight (V, D), got {weight.ndim} axes"
            raise self.error(ShapeError, "the weight is no matrix.", expected=expected, weight=weight)
        self._check_indices(indices, weight.shape[0])
        return (Out((*indices.shape, weight.shape[1]), weight.dtype),)

    def _check_indices(self, indices: Array, rows: int) -> None:
        if indices.dtype != np.int64:
            problem, hint = "the indices have a wrong dtype.", arguments.conversion("indices", "int64")
            expected = f"int64, got {indices.dtype}"
            raise self.error(DTypeError, problem, expected=expected, hint=hint, indices=indices)
        if not of(indices).uses_kernels and indices.size and not 0 <= indices.min() <= indices.max() < rows:
            raise self.out_of_range(rows, f", got {indices.min()} to {indices.max()}")

    def out_of_range(self, rows: int, found: str = "") -> Any:
        """Return the error of an index outside [0, rows)."""
        return self.error(IndexError, "an index is out of range.", expected=f"0 <= index < V = {rows}{found}")

    def reference(self, be: Backend, y: Array, weight: Array, indices: Array, **attrs: Any) -> None:
        y[...] = be.xp.take(weight, indices, axis=0)

    def cpu(self, be: Backend, y: Array, weight: Array, indices: Array, **attrs: Any) -> None:
        np.take(weight, indices, axis=0, out=y, mode="clip")  # they are in range; "raise" would take a buffer

    def cuda(self, be: KernelBackend, y: Array, weight: Array, indices: Array, **attrs: Any) -> None:
        rows, width = weight.shape
        lanes = _lanes(width, weight.dtype, 32)
        code = be.error_code(self.out_of_range(rows))
        read = be.dense(weight, CONTIGUOUS), be.dense(indices, CONTIGUOUS)
        grid = blocks(indices.size, _THREADS // lanes) if width else 0
        args = (y, *read, indices.size, rows, width, be.error_word, code)
        macros = {"REAL": y.dtype, "OUT": y.dtype}
        be.launch("embedding.cu", "embedding_forward", grid, (lanes, _THREADS // lanes), args, **macros)

    def infer_grad(
        self, gy: Array, indices: Array, *, padding_idx: int | None, input_size: tuple[int, ...]
    ) -> tuple[Out, None]:
        rows, width = input_size
        self._check_indices(indices, rows)
        self.require_saved((*indices.shape, width), gy.dtype, gy=gy)
        return Out((rows, width), gy.dtype), None

    def grad_reference(
        self, be: Backend, gw: Array, _: None, gy: Array, indices: Array, *, padding_idx: int | None, **attrs: Any
    ) -> None:
        gw[...] = 0
        for place in np.ndindex(*indices.shape):
            if indices[place] != padding_idx:
                gw[indices[place]] += gy[place]

    def grad_cpu(
        self, be: Backend, gw: Array, _: None, gy: Array, indices: Array, *, padding_idx: int | None, **attrs: Any
    ) -> None:
        gw[...] = 0
        np.add.at(gw, indices, gy)
        if padding_idx is not None:
            gw[padding_idx] = 0

    def grad_cuda(
        self, be: KernelBackend, gw: Array, _: None, gy: Array, indices: Array, *, padding_idx: int | None, **attrs: Any
    ) -> None:
        rows, width = gw.shape
        lanes = _lanes(width, gw.dtype, _COLUMNS * gw.itemsize // 16)
        grid = blocks(rows, _ROWS), blocks(width, lanes * 16 // gw.itemsize)
        splits = min(blocks(_BLOCKS, max(1, math.prod(grid))), blocks(indices.size, _LEAST_INDICES))
        per_split = blocks(indices.size, max(1, splits))
        splits = max(1, blocks(indices.size, max(1, per_split)))
        with be.dense_output(gw, CONTIGUOUS) as dense:
            out = dense if splits == 1 else be.empty((splits, rows, width), accumulator(gw.dtype))
            read = be.dense(gy, CONTIGUOUS), be.dense(indices, CONTIGUOUS)
            args = (out, *read, indices.size, rows, width, -1 if padding_idx is None else padding_idx, per_split)
            block, macros = (lanes, _THREADS // lanes), {"REAL": gw.dtype, "OUT": out.dtype}
            be.launch("embedding.cu", "embedding_backward", (*grid, splits), block, args, **macros)
            if splits > 1:
                sum_partials(be, dense, out)


def padding_row(name: str, padding_idx: int | None, size: Sequence[int]) -> int | None:
    """Return the row that is padding, counted from the start, or None."""
    if padding_idx is None:
        return None
    row, rows = arguments.integer(name, "padding_idx", padding_idx), size[0] if size else 0
    if not -rows <= row < rows:
        raise ValueError(f"{name}: there is no row padding_idx.\n  expected {-rows} to {rows - 1}, got {row}")
    return row % rows


def _lanes(width: int, dtype: np.dtype[Any], most: int) -> int:
    """Return how many threads share a row: a power of two."""
    return min(power_of_two(blocks(width * dtype.itemsize, 16)), most)


embedding = Embedding()
