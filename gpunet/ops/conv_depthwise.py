"""The products of convolution by kernels/conv_depthwise.cu: every channel is a group of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops.activation import relu as rectify
from gpunet.ops.conv_products import Products
from gpunet.ops.conv_slabs import MOST_SHARED, balanced, launch_strips, launch_weights
from gpunet.ops.geometry import Geometry, Triple

__all__ = ["DEPTHWISE"]

_FILE = "conv_depthwise.cu"
_MOST_SUMMED = 4  # as in kernels/conv_depthwise.cu
_LINE = 128  # bytes of a pixel that a block takes: a cache line
_WIDEST = 8 * 4  # bytes of the weights of a thread, for one tap: of 8 channels in 16 bits, computed in float32


class Depthwise(Products):
    """All three products; an output channel has one input channel, and that may have several output channels."""

    def fits(self, product: str, g: Geometry) -> bool:
        """Say whether a product, named as its method, can be made."""
        if not g.groups == g.channels > 1:
            return False
        return product == "weight_gradient" or _rows(product, g) * _WIDEST <= MOST_SHARED

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        self._launch(be, "depthwise_forward", (y, x, w, b), g.out_size, g, _rows("forward", g))
        if relu:
            rectify.cuda(be, y, y)

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        self._launch(be, "depthwise_backward_input", (gx, gy, w, b), g.in_size, g, _rows("input_gradient", g))

    def _launch(self, be: KernelBackend, kernel: str, arrays: Any, size: Triple, g: Geometry, rows: int) -> None:
        out = arrays[0]
        per_thread = _per_thread(g, out.dtype)
        bytes_of_thread = rows * per_thread * accumulator(out.dtype).itemsize
        most = min(_LINE // (per_thread * out.itemsize), MOST_SHARED // bytes_of_thread)
        threads = balanced(out.shape[1] // per_thread, most)
        launch_strips(be, _FILE, kernel, arrays, size, g, threads, threads[0] * bytes_of_thread, per_thread, per_thread)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        per_thread = _per_thread(g, gy.dtype, _MOST_SUMMED)
        threads = balanced(g.outputs // per_thread, _LINE // (per_thread * gy.itemsize))
        launch_weights(be, _FILE, "depthwise_backward_weight", gw, gb, gy, x, g, threads, per_thread)


def _per_thread(g: Geometry, dtype: np.dtype[Any], most: int = 16) -> int:
    """Return how many neighbouring channels a thread takes: up to 16 bytes, if they are neighbours in x and y."""
    whole = min(16 // dtype.itemsize, most)
    return whole if g.channels == g.outputs and g.channels % whole == 0 else 1


def _rows(product: str, g: Geometry) -> int:
    """Return how many rows of weights lie in shared memory; the last is the bias."""
    return g.taps * (g.outputs // g.channels if product == "input_gradient" else 1) + 1


DEPTHWISE = Depthwise()
