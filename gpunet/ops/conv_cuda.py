"""Which kernels make the products of a convolution on a GPU."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, Array
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops import choices, tiles
from gpunet.ops.choices import Problem
from gpunet.ops.conv_depthwise import DEPTHWISE, Depthwise
from gpunet.ops.conv_direct import DIRECT, Direct
from gpunet.ops.conv_halo import Halo
from gpunet.ops.conv_plain import PLAIN
from gpunet.ops.conv_products import Products
from gpunet.ops.conv_tiled import Tiled
from gpunet.ops.geometry import Geometry
from gpunet.ops.reduce import sum_to_channels
from gpunet.ops.tiles import Tile

__all__ = ["Cuda", "problem_of", "product_sizes"]

_SPECIAL: dict[str, Direct | Depthwise] = {"direct": DIRECT, "depthwise": DEPTHWISE}
_TILED: dict[str, type[Tiled] | type[Halo]] = {"tensor": Tiled, "fma": Tiled, "halo": Halo}


def product_sizes(product: str, g: Geometry) -> tuple[int, int, int]:
    """Return rows, columns and depth of a product as a matrix product of each group, as choices.toml explains them."""
    outputs, weights = g.outputs // g.groups, g.taps * g.channels // g.groups
    if product == "forward":
        return g.out_pixels, outputs, weights
    if product == "weight_gradient":
        return outputs, weights, g.out_pixels
    # Pixels whose place is equal modulo the stride are a product of their own, each as large as the largest.
    pixels = g.batch * math.prod(blocks(n, s) * s for n, s in zip(g.in_size, g.stride, strict=True))
    return pixels, g.channels // g.groups, g.taps * outputs


@functools.lru_cache(maxsize=4096)
def problem_of(be: KernelBackend, product: str, g: Geometry, dtype: np.dtype[Any], allow_tf32: bool) -> Problem:
    """Return a product as tables of choices know it, with the kernels that can make it."""
    able = [name for name, kernels in _SPECIAL.items() if kernels.fits(product, g)]
    halo_tiles: tuple[Tile, ...] = ()
    if Tiled.fits(product, g, dtype):
        able += tiles.able(be, dtype, allow_tf32)
    if "tensor" in able:
        able.append("halo")
        halo_tiles = Halo.tiles(be, product, g, dtype)
    rows, columns, depth = product_sizes(product, g)
    return Problem(
        f"conv_{product}",
        choices.dtype_class(dtype, allow_tf32),
        be.arch,
        (*able, "plain"),
        rows,
        columns,
        depth,
        groups=g.groups,
        taps=g.taps,
        channels=g.channels // g.groups,
        halo_tiles=halo_tiles,
    )


class Cuda(Products):
    """Hands each product to the kernels that are chosen for it."""

    def __init__(self, allow_tf32: bool) -> None:
        self._allow_tf32 = allow_tf32

    def _kernels(self, be: KernelBackend, product: str, g: Geometry, dtype: np.dtype[Any]) -> Any:
        """Return what the table of choices names for a product, of those that can make it; it has a method for that.

        Some make some products only: choices_table.KERNELS says which.
        """
        choice = choices.choose(be, problem_of(be, product, g, dtype, self._allow_tf32))
        if choice.kernel in _TILED:
            return _TILED[choice.kernel](choice)
        return _SPECIAL.get(choice.kernel, PLAIN)

    def forward(
        self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool = False
    ) -> None:
        """Fill y."""
        self._kernels(be, "forward", g, y.dtype).forward(be, y, x, w, b, g, relu)

    def max_pool(
        self, be: KernelBackend, y: Array, winner: Array, x: Array, w: Array, b: Array | None, g: Geometry, relu: bool
    ) -> bool:
        """Fill y and winner from 2 x 2 pixels of the output each, if the kernel that is chosen for it can; say so."""
        kernels = self._kernels(be, "forward", g, y.dtype)
        if not isinstance(kernels, Halo):
            return False
        kernels.max_pool(be, y, winner, x, w, b, g, relu)
        return True

    def input_gradient(self, be: KernelBackend, gx: Array, gy: Array, w: Array, b: Array | None, g: Geometry) -> None:
        """Fill gx."""
        self._kernels(be, "input_gradient", g, gx.dtype).input_gradient(be, gx, gy, w, b, g)

    def weight_gradient(self, be: KernelBackend, gw: Any, gb: Any, gy: Array, x: Array, g: Geometry) -> None:
        """Fill gw and gb."""
        gy = be.dense(gy, CHANNELS_LAST)
        kernels = None if gw is None else self._kernels(be, "weight_gradient", g, gw.dtype)
        in_one_pass = kernels in _SPECIAL.values()
        if kernels is not None:
            kernels.weight_gradient(be, gw, gb if in_one_pass else None, gy, x, g)
        if gb is not None and not in_one_pass:
            sum_to_channels(be, gb, gy)
