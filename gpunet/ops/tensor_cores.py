"""Matrix products on tensor cores: where they can be used, their tiles, and the sums of split products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array, kernels
from gpunet.backend.dtypes import is_half
from gpunet.backend.kernel_backend import KernelBackend, blocks

__all__ = ["ALIGNMENT", "TILES", "Tile", "chunk", "sum_splits", "usable"]

ALIGNMENT = 16  # bytes: operands travel in chunks of so many

_STAGES = 3  # as in kernels/tensor.cuh


@dataclass(frozen=True)
class Tile:
    """What a block of threads makes: rows x columns of the product, from slices that are so many bytes deep."""

    rows: int
    columns: int
    slice_bytes: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}x{self.slice_bytes}"

    @property
    def macro(self) -> str:
        """The value of the kernels' macro TILE."""
        return f"{self.rows},{self.columns},{self.slice_bytes}"

    @property
    def threads(self) -> int:
        """Threads of a block: a warp makes 64 x 32 elements of the largest tile, 32 x 32 of the others."""
        return self.rows // (64 if self.rows * self.columns >= 128 * 128 else 32) * (self.columns // 32) * 32

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block."""
        return _STAGES * (self.rows + self.columns) * self.slice_bytes

    def depth(self, dtype: np.dtype[Any]) -> int:
        """Elements along the depth of a slice."""
        return self.slice_bytes // dtype.itemsize

    def count(self, rows: int, columns: int) -> int:
        """Tiles that cover a product."""
        return blocks(rows, self.rows) * blocks(columns, self.columns)


TILES = tuple(Tile(*map(int, macro.split(","))) for macro in kernels.MACRO_VALUES["TILE"])


def usable(be: KernelBackend, dtype: np.dtype[Any], allow_tf32: bool) -> bool:
    """Say whether tensor cores take a dtype here: 16-bit floats, and float32 where it may be rounded to TF32."""
    return be.arch >= kernels.LEAST_TILED_ARCH and (is_half(dtype) or (dtype == np.float32 and allow_tf32))


def chunk(dtype: np.dtype[Any]) -> int:
    """Return how many elements travel together: sizes along the memory must be multiples of it."""
    return ALIGNMENT // dtype.itemsize


def sum_splits(be: KernelBackend, out: Array, partials: Array, bias: Array | None, columns: int) -> None:
    """Fill dense `out` with the sum of partials (splits, size), in order, plus a bias per column."""
    args = (out, partials, bias, out.size, columns, partials.shape[0])
    be.launch("gemm.cu", "sum_splits", blocks(out.size), 256, args, REAL=out.dtype)
