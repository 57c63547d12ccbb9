"""Which kernels make the products of a convolution on a GPU."""

from __future__ import annotations

from typing import Any

from gpunet.backend import CHANNELS_LAST, Array
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops.conv_plain import PLAIN
from gpunet.ops.conv_products import Products
from gpunet.ops.geometry import Geometry
from gpunet.ops.reduce import sum_to_channels

__all__ = ["CUDA"]


class _Cuda(Products):
    """Hands each product to the kernels that are chosen for it."""

    def forward(self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry) -> None:
        PLAIN.forward(be, y, x, w, b, g)

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        PLAIN.input_gradient(be, gx, gy, w, b, g)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        gy = be.dense(gy, CHANNELS_LAST)
        if gw is not None:
            PLAIN.weight_gradient(be, gw, None, gy, x, g)
        if gb is not None:
            sum_to_channels(be, gb, gy)


CUDA = _Cuda()
