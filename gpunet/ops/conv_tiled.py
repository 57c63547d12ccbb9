"""The products of convolution by kernels/conv_tiled.cu: in tiles, for channels in chunks of 16 bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops.choices import Choice
from gpunet.ops.conv_products import Products
from gpunet.ops.geometry import Geometry, window_struct
from gpunet.ops.tiles import ALIGNMENT, sum_splits
from gpunet.ops.tiles import chunk as chunk_of

__all__ = ["Tiled"]


class Tiled(Products):
    """Implicit GEMM: on tensor cores with 16-bit floats or TF32, or by multiply-adds with float32; sums are float32."""

    def __init__(self, choice: Choice) -> None:
        self._choice, self._tile = choice, choice.tile

    @staticmethod
    def fits(product: str, g: Geometry, dtype: np.dtype[Any]) -> bool:
        """Say whether the channels along the memory of both operands come in whole chunks."""
        chunk = chunk_of(dtype)
        channels, outputs = g.channels // g.groups, g.outputs // g.groups
        return channels % chunk == 0 and (product == "forward" or outputs % chunk == 0)

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        """Fill y."""
        outputs = g.outputs // g.groups
        grid = (blocks(g.out_pixels, self._tile.rows), blocks(outputs, self._tile.columns), g.groups)
        self._gather(be, "tiled_conv_forward", grid, y, x, w, b, g, int(relu))

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill gx."""
        channels, classes = g.channels // g.groups, math.prod(g.stride)
        pixels = g.batch * math.prod(map(blocks, g.in_size, g.stride))  # of the largest class
        grid = (blocks(pixels, self._tile.rows), blocks(channels, self._tile.columns), g.groups * classes)
        self._gather(be, "tiled_conv_backward_input", grid, gx, gy, w, b, g)

    def _gather(
        self,
        be: KernelBackend,
        kernel: str,
        grid: tuple[int, ...],
        out: Array,
        x: Array,
        w: Array,
        b: Array | None,
        g: Geometry,
        *relu: int,
    ) -> None:
        bias = None if b is None else be.dense(b, CONTIGUOUS)
        x, w = (be.dense(array, CHANNELS_LAST, ALIGNMENT) for array in (x, w))
        with be.dense_output(out, CHANNELS_LAST) as dense:
            self._launch(be, kernel, grid, (dense, x, w, bias, *relu, window_struct(be, g)), out.dtype)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw from splits of the output pixels; gb is not made here."""
        outputs, weights = g.outputs // g.groups, g.taps * g.channels // g.groups
        tile, tiles = self._tile, self._tile.count(outputs, weights) * g.groups
        splits, per_split = self._choice.split(tiles, g.out_pixels, gw.dtype)
        gy, x = (be.dense(array, CHANNELS_LAST, ALIGNMENT) for array in (gy, x))
        partials = be.empty((splits, gw.size), np.float32) if splits > 1 else None
        with be.dense_output(gw, CHANNELS_LAST) as out:
            args = (None if splits > 1 else out, partials, gy, x, window_struct(be, g), per_split)
            grid = (blocks(outputs, tile.rows), blocks(weights, tile.columns), g.groups * splits)
            self._launch(be, "tiled_conv_backward_weight", grid, args, gw.dtype)
            if partials is not None:
                sum_splits(be, out, partials)

    def _launch(self, be: KernelBackend, kernel: str, grid: Any, args: tuple[Any, ...], dtype: np.dtype[Any]) -> None:
        tile = self._tile
        be.launch(
            "conv_tiled.cu", kernel, grid, tile.threads, args, shared=tile.shared_bytes, REAL=dtype, TILE=tile.macro
        )
