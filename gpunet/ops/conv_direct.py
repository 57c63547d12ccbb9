"""The products of convolution by kernels/conv_direct.cu: few channels without groups, as in a first layer."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops.conv_slabs import MOST_SHARED, balanced, launch_strips, launch_weights
from gpunet.ops.geometry import Geometry

__all__ = ["DIRECT"]

_FILE = "conv_direct.cu"
_MOST_CHANNELS = 4
_MOST_EIGHTS = 8  # of output channels in a block of forward: so many threads read shared memory without bank conflicts
_MOST_VECTORS = 64  # of output channels in a block of the gradient
_OUTPUTS, _SPARE = 8, 4  # as in kernels/conv_direct.cu
_WIDEST = 8  # bytes of a number


class Direct:
    """Of the `Products`, forward and the gradient of the weights; nobody asks for that of the images."""

    def fits(self, product: str, g: Geometry) -> bool:
        """Say whether a product, named as its method, can be made."""
        narrow = g.groups == 1 and g.channels <= _MOST_CHANNELS
        return narrow and (product == "weight_gradient" or (product == "forward" and _eights(g, _WIDEST) > 0))

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        """Fill y."""
        size = accumulator(y.dtype).itemsize
        per_block, across = balanced(blocks(g.outputs, _OUTPUTS), _eights(g, size))
        shared = _rows(g) * (per_block * _OUTPUTS + _SPARE) * size
        launch_strips(be, _FILE, "direct_forward", (y, x, w, b), g.out_size, g, (per_block, across), shared, int(relu))

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw and gb, as far as they are given."""
        threads = balanced(blocks(g.outputs, 16 // gy.itemsize), _MOST_VECTORS)
        launch_weights(be, _FILE, "direct_backward_weight", gw, gb, gy, x, g, threads)


def _rows(g: Geometry) -> int:
    """Return how many rows of weights lie in shared memory; the last is the bias."""
    return g.taps * g.channels + 1


def _eights(g: Geometry, size: int) -> int:
    """Return how many times eight output channels a block can take, in numbers of a size in bytes."""
    return min(_MOST_EIGHTS, (MOST_SHARED // (_rows(g) * size) - _SPARE) // _OUTPUTS)


DIRECT = Direct()
