"""Products in tiles: what can make them, the tiles, and the sums of split products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array, kernels
from gpunet.backend.dtypes import is_half
from gpunet.backend.kernel_backend import KernelBackend, blocks

__all__ = ["ALIGNMENT", "FMA_TILES", "HALO_TILES", "MMA_TILES", "Tile", "able", "chunk", "sum_splits"]

ALIGNMENT = 16  # bytes: operands travel in chunks of so many

_STAGES = 3  # as in kernels/tiles.cuh


@dataclass(frozen=True)
class Tile:
    """What a block of threads makes: rows x columns of the product, from slices that are so many bytes deep.

    Each warp makes warp_rows x warp_columns of it, with `arithmetic` "MMA" on tensor cores, "FMA" by multiply-adds.
    """

    rows: int
    columns: int
    slice_bytes: int
    warp_rows: int
    warp_columns: int
    arithmetic: str = "MMA"

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}x{self.slice_bytes}"

    @property
    def macro(self) -> str:
        """The value of the kernels' macro."""
        sizes = self.rows, self.columns, self.slice_bytes, self.warp_rows, self.warp_columns
        return ",".join(map(str, sizes)) + (",FMA" if self.arithmetic == "FMA" else "")

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.rows // self.warp_rows * (self.columns // self.warp_columns) * 32

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


def _tiles(macro: str) -> tuple[Tile, ...]:
    found = []
    for value in kernels.MACRO_VALUES[macro]:
        arithmetic = "FMA" if value.endswith(",FMA") else "MMA"
        rows, columns, slice_bytes, warp_rows, warp_columns = map(int, value.removesuffix(",FMA").split(","))
        found.append(Tile(rows, columns, slice_bytes, warp_rows, warp_columns, arithmetic))
    return tuple(found)


MMA_TILES = tuple(tile for tile in _tiles("TILE") if tile.arithmetic == "MMA")
FMA_TILES = tuple(tile for tile in _tiles("TILE") if tile.arithmetic == "FMA")
HALO_TILES = _tiles("HALO_TILE")


def able(be: KernelBackend, dtype: np.dtype[Any], allow_tf32: bool) -> list[str]:
    """Return which tiled kernels take a dtype here, as tables of choices call them.

    Tensor cores take 16-bit floats, and float32 where it may be rounded to TF32; multiply-adds take float32.
    """
    on_tensor_cores = be.arch >= kernels.LEAST_MMA_ARCH and (is_half(dtype) or (dtype == np.float32 and allow_tf32))
    return ["tensor"] * on_tensor_cores + ["fma"] * (dtype == np.float32)


def chunk(dtype: np.dtype[Any]) -> int:
    """Return how many elements travel together: sizes along the memory must be multiples of it."""
    return ALIGNMENT // dtype.itemsize


def sum_splits(
    be: KernelBackend, out: Array, partials: Array, bias: Array | None = None, columns: int = 1, relu: bool = False
) -> None:
    """Fill dense `out` with the sum of partials (splits, size), in order, plus a bias per column; ReLU may clip it."""
    args = (out, partials, bias, int(relu), out.size, columns, partials.shape[0])
    be.launch("gemm.cu", "sum_splits", blocks(out.size), 256, args, REAL=out.dtype)
