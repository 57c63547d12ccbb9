"""Which kernels make the products of a convolution on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, Array
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops import tensor_cores
from gpunet.ops.conv_depthwise import DEPTHWISE
from gpunet.ops.conv_direct import DIRECT
from gpunet.ops.conv_plain import PLAIN
from gpunet.ops.conv_products import Products
from gpunet.ops.conv_tensor import TENSOR
from gpunet.ops.geometry import Geometry
from gpunet.ops.reduce import sum_to_channels

__all__ = ["Cuda"]


class Cuda(Products):
    """Hands each product to the kernels that are chosen for it."""

    def __init__(self, allow_tf32: bool) -> None:
        self._allow_tf32 = allow_tf32

    def _kernels(self, be: KernelBackend, product: str, g: Geometry, dtype: np.dtype[Any]) -> Products:
        if tensor_cores.usable(be, dtype, self._allow_tf32) and TENSOR.fits(product, g, dtype):
            return TENSOR
        return next((special for special in (DIRECT, DEPTHWISE) if special.fits(product, g)), PLAIN)

    def forward(self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill y."""
        self._kernels(be, "forward", g, y.dtype).forward(be, y, x, w, b, g)

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill gx."""
        self._kernels(be, "input_gradient", g, gx.dtype).input_gradient(be, gx, gy, w, b, g)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw and gb."""
        gy = be.dense(gy, CHANNELS_LAST)
        kernels = None if gw is None else self._kernels(be, "weight_gradient", g, gw.dtype)
        in_one_pass = kernels in (DIRECT, DEPTHWISE)
        if kernels is not None:
            kernels.weight_gradient(be, gw, gb if in_one_pass else None, gy, x, g)
        if gb is not None and not in_one_pass:
            sum_to_channels(be, gb, gy)
