"""The products of convolution by kernels/conv_tensor.cu: on tensor cores, for channels in chunks of 16 bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops import tensor_cores
from gpunet.ops.conv_products import Products
from gpunet.ops.geometry import Geometry, window_struct
from gpunet.ops.tensor_cores import Tile

__all__ = ["TENSOR"]


class _Tensor(Products):
    """Implicit GEMM with mma.sync: 16-bit floats as they are, float32 rounded to TF32; sums are float32."""

    def fits(self, product: str, g: Geometry, dtype: np.dtype[Any]) -> bool:
        """Say whether the channels along the memory of both operands come in whole chunks."""
        chunk = tensor_cores.chunk(dtype)
        channels, outputs = g.channels // g.groups, g.outputs // g.groups
        return channels % chunk == 0 and (product == "forward" or outputs % chunk == 0)

    def forward(self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry) -> None:
        outputs = g.outputs // g.groups
        tile = tensor_cores.choose_tile(g.out_pixels, outputs)
        grid = (blocks(g.out_pixels, tile.rows), blocks(outputs, tile.columns), g.groups)
        self._gather(be, "tensor_conv_forward", grid, tile, y, x, w, b, g)

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        channels, classes = g.channels // g.groups, math.prod(g.stride)
        pixels = g.batch * math.prod(map(blocks, g.in_size, g.stride))  # of the largest class
        tile = tensor_cores.choose_tile(pixels * classes, channels)
        grid = (blocks(pixels, tile.rows), blocks(channels, tile.columns), g.groups * classes)
        self._gather(be, "tensor_conv_backward_input", grid, tile, gx, gy, w, b, g)

    def _gather(
        self,
        be: KernelBackend,
        kernel: str,
        grid: tuple[int, ...],
        tile: Tile,
        out: Array,
        x: Array,
        w: Array,
        b: Array | None,
        g: Geometry,
    ) -> None:
        bias = None if b is None else be.dense(b, CONTIGUOUS)
        x, w = (be.dense(array, CHANNELS_LAST, tensor_cores.ALIGNMENT) for array in (x, w))
        with be.dense_output(out, CHANNELS_LAST) as dense:
            self._launch(be, kernel, grid, tile, (dense, x, w, bias, window_struct(be, g)), out.dtype)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw from splits of the output pixels; gb is not made here."""
        outputs, weights = g.outputs // g.groups, g.taps * g.channels // g.groups
        tile = tensor_cores.choose_tile(outputs, weights)
        tiles = tile.count(outputs, weights) * g.groups
        splits, per_split = tensor_cores.splits_of(tiles, g.out_pixels, tile.depth(gw.dtype))
        gy, x = (be.dense(array, CHANNELS_LAST, tensor_cores.ALIGNMENT) for array in (gy, x))
        partials = be.empty((splits, gw.size), np.float32) if splits > 1 else None
        with be.dense_output(gw, CHANNELS_LAST) as out:
            args = (None if splits > 1 else out, partials, gy, x, window_struct(be, g), per_split)
            grid = (blocks(outputs, tile.rows), blocks(weights, tile.columns), g.groups * splits)
            self._launch(be, "tensor_conv_backward_weight", grid, tile, args, gw.dtype)
            if partials is not None:
                tensor_cores.sum_splits(be, out, partials, None, 1)

    def _launch(
        self, be: KernelBackend, kernel: str, grid: Any, tile: Tile, args: tuple[Any, ...], dtype: np.dtype[Any]
    ) -> None:
        shared = tile.shared_bytes
        be.launch("conv_tensor.cu", kernel, grid, tile.threads, args, shared=shared, REAL=dtype, TILE=tile.macro)


TENSOR = _Tensor()
