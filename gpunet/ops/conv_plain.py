"""The products of convolution by kernels/conv.cu: any shape and float dtype, without tensor cores."""

from __future__ import annotations

from typing import Any

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops.activation import relu as rectify
from gpunet.ops.conv_products import Products
from gpunet.ops.geometry import Geometry, window_struct
from gpunet.ops.reduce import sum_partials, sum_to_channels

__all__ = ["PLAIN"]

_TILE = 64  # as in kernels/gemm.cuh
_WANTED_BLOCKS = 264  # two per multiprocessor of an H100-class GPU
_MIN_PIXELS_PER_SPLIT = 512


class Plain(Products):
    """Implicit GEMM on channels-last memory; the oracle of the faster kernels."""

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        grid = (blocks(g.out_pixels, _TILE), blocks(g.outputs // g.groups, _TILE), g.groups)
        self._launch(be, "conv_forward", grid, y, x, w, b, g)
        if relu:
            rectify.cuda(be, y, y)

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        grid = (blocks(g.in_pixels, _TILE), blocks(g.channels // g.groups, _TILE), g.groups)
        self._launch(be, "conv_backward_input", grid, gx, gy, w, b, g)

    def _launch(
        self, be: KernelBackend, kernel: str, grid: Any, out: Array, x: Array, w: Array, b: Array | None, g: Geometry
    ) -> None:
        bias = None if b is None else be.dense(b, CONTIGUOUS)
        with be.dense_output(out, CHANNELS_LAST) as dense:
            args = (dense, be.dense(x, CHANNELS_LAST), be.dense(w, CHANNELS_LAST), bias, window_struct(be, g))
            be.launch("conv.cu", kernel, grid, 256, args, REAL=out.dtype)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        gy = be.dense(gy, CHANNELS_LAST)
        if gw is not None:
            with be.dense_output(gw, CHANNELS_LAST) as out:
                self._weight_gradient(be, out, gy, be.dense(x, CHANNELS_LAST), g)
        if gb is not None:
            sum_to_channels(be, gb, gy)

    def _weight_gradient(self, be: KernelBackend, gw: Array, gy: Array, x: Array, g: Geometry) -> None:
        """Sum over splits of the output pixels: enough blocks for a GPU, however small the filters are."""
        depth = g.taps * g.channels // g.groups
        tiles = blocks(g.outputs // g.groups, _TILE), blocks(depth, _TILE)
        wanted = blocks(_WANTED_BLOCKS, tiles[0] * tiles[1] * g.groups)
        splits = max(1, min(wanted, blocks(g.out_pixels, _MIN_PIXELS_PER_SPLIT)))
        per_split = blocks(g.out_pixels, splits)
        sum_dtype = accumulator(gw.dtype)
        direct = splits == 1 and gw.dtype == sum_dtype
        out = gw if direct else be.empty((splits, gw.size), sum_dtype)
        args = (out, gy, x, window_struct(be, g), per_split)
        be.launch("conv.cu", "conv_backward_weight", (*tiles, g.groups * splits), 256, args, REAL=gy.dtype)
        if not direct:
            sum_partials(be, gw, out)


PLAIN = Plain()
