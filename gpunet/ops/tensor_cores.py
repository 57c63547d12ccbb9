"""Matrix products on tensor cores: where they can be used, in which tiles, and the sums of split products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.backend.dtypes import is_half
from gpunet.backend.kernel_backend import KernelBackend, blocks

__all__ = ["ALIGNMENT", "TILES", "Tile", "choose_tile", "chunk", "splits_of", "sum_splits", "usable"]

ALIGNMENT = 16  # bytes: operands travel in chunks of so many

_STAGES = 3  # as in kernels/tensor.cuh
_WANTED_BLOCKS = 264  # two per multiprocessor of an H100-class GPU
_SLICES_PER_SPLIT = 4  # fewer, and filling the stages takes longer than multiplying


@dataclass(frozen=True)
class Tile:
    """What a block of threads makes: rows x columns of the product, from slices that are so many bytes deep."""

    rows: int
    columns: int
    slice_bytes: int

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


LARGE, HIGH, SMALL, NARROW = Tile(128, 128, 128), Tile(128, 64, 128), Tile(64, 64, 128), Tile(128, 32, 64)
TILES = (LARGE, HIGH, SMALL, NARROW)


def usable(be: KernelBackend, dtype: np.dtype[Any], allow_tf32: bool) -> bool:
    """Say whether tensor cores take a dtype here: 16-bit floats, and float32 where it may be rounded to TF32."""
    return be.arch >= 80 and (is_half(dtype) or (dtype == np.float32 and allow_tf32))


def chunk(dtype: np.dtype[Any]) -> int:
    """Return how many elements travel together: sizes along the memory must be multiples of it."""
    return ALIGNMENT // dtype.itemsize


_forced: ContextVar[tuple[Tile, int] | None] = ContextVar("gpunet_forced_tile", default=None)


@contextmanager
def force(tile: Tile, splits: int = 0) -> Iterator[None]:
    """Take one tile for all products, and about so many splits of their depth: for tests and for tuning."""
    token = _forced.set((tile, splits))
    try:
        yield
    finally:
        _forced.reset(token)


def choose_tile(rows: int, columns: int) -> Tile:
    """Return the tile for a product: no wider than it, and large where that leaves enough blocks."""
    forced = _forced.get()
    if forced:
        return forced[0]
    if columns <= 32:
        return NARROW
    if columns > 64 and LARGE.count(rows, columns) >= _WANTED_BLOCKS // 2:
        return LARGE
    return HIGH if HIGH.count(rows, columns) >= _WANTED_BLOCKS else SMALL


def splits_of(tiles: int, depth: int, slice_depth: int) -> tuple[int, int]:
    """Return (splits, depth of each) of a product: enough blocks for a GPU, and no split empty."""
    slices = max(1, blocks(depth, slice_depth))
    forced = _forced.get()
    wanted = forced[1] if forced and forced[1] else min(blocks(_WANTED_BLOCKS // 2, tiles), slices // _SLICES_PER_SPLIT)
    splits = max(1, min(wanted, slices))
    per_split = blocks(slices, splits) * slice_depth
    return max(1, blocks(depth, per_split)), per_split


def sum_splits(be: KernelBackend, out: Array, partials: Array, bias: Array | None, columns: int) -> None:
    """Fill dense `out` with the sum of partials (splits, size), in order, plus a bias per column."""
    args = (out, partials, bias, out.size, columns, partials.shape[0])
    be.launch("gemm.cu", "sum_splits", blocks(out.size), 256, args, REAL=out.dtype)
