"""The products of convolution by kernels/conv_halo.cu: few channels, stride 1, on tensor cores."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops.choices import Choice
from gpunet.ops.geometry import Geometry, window_struct
from gpunet.ops.tiles import ALIGNMENT, HALO_TILES, Tile

__all__ = ["Halo"]

MULTIPROCESSORS = 132  # of an H100-class GPU: a block stays on one, and makes many tiles
_TILE_COLUMNS = 16  # as in kernels/conv_halo.cu


class Halo:
    """Of the `Products`, forward and input gradient: weights and pixels stay in shared memory for all taps."""

    def __init__(self, choice: Choice) -> None:
        self._tile = choice.tile

    @staticmethod
    def tiles(be: KernelBackend, product: str, g: Geometry, dtype: np.dtype[Any]) -> tuple[Tile, ...]:
        """Return the tiles in which this can make a product, whose channels come in whole chunks."""
        by_pixels_in_planes = g.stride == (1, 1, 1) and g.window[0] == 1 and g.padding[0] == 0
        if product == "weight_gradient" or not by_pixels_in_planes or g.taps == 1:
            return ()
        return tuple(tile for tile in HALO_TILES if _shared_bytes(tile, product, g, dtype) <= be.max_shared_bytes)

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        """Fill y."""
        with be.dense_output(y, CHANNELS_LAST) as out:
            self._convolve(be, "halo_conv_forward", "forward", (out,), x, w, b, g, int(relu))

    def max_pool(
        self, be: KernelBackend, y: Array, winner: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool
    ) -> None:
        """Fill y and channels-last winner from 2 x 2 pixels of the output each."""
        with be.dense_output(y, CHANNELS_LAST) as out:
            self._convolve(be, "halo_conv_max_pool", "forward", (out, winner), x, w, b, g, int(relu))

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill gx."""
        with be.dense_output(gx, CHANNELS_LAST) as out:
            self._convolve(be, "halo_conv_backward_input", "input_gradient", (out,), gy, w, b, g)

    def _convolve(
        self,
        be: KernelBackend,
        kernel: str,
        product: str,
        outs: tuple[Array, ...],
        x: Array,
        w: Array,
        b: Array | None,
        g: Geometry,
        *relu: int,
    ) -> None:
        tile = self._tile
        size, made = (g.out_size, g.outputs) if product == "forward" else (g.in_size, g.channels)
        tiles = g.batch * size[0] * blocks(size[1], tile.rows // _TILE_COLUMNS) * blocks(size[2], _TILE_COLUMNS)
        columns = blocks(made // g.groups, tile.columns)
        shared = _shared_bytes(tile, product, g, x.dtype)
        resident = MULTIPROCESSORS * (be.max_shared_bytes // shared)
        grid = (min(tiles, max(1, resident // (columns * g.groups))), columns, g.groups)
        bias = None if b is None else be.dense(b, CONTIGUOUS)
        x, w = (be.dense(array, CHANNELS_LAST, ALIGNMENT) for array in (x, w))
        args = (*outs, x, w, bias, *relu, window_struct(be, g))
        macros = {"REAL": x.dtype, "HALO_TILE": tile.macro}
        be.launch("conv_halo.cu", kernel, grid, tile.threads, args, shared=shared, **macros)


def _shared_bytes(tile: Tile, product: str, g: Geometry, dtype: np.dtype[Any]) -> int:
    """Return the dynamic shared memory of a block: the weights that it needs, and two patches of pixels."""
    read = (g.channels if product == "forward" else g.outputs) // g.groups
    slices = blocks(read, tile.depth(dtype))
    rows, columns = (
        n + (k - 1) * d
        for n, k, d in zip((tile.rows // _TILE_COLUMNS, _TILE_COLUMNS), g.window[1:], g.dilation[1:], strict=True)
    )
    return slices * tile.slice_bytes * (g.taps * tile.columns + 2 * rows * columns)
