"""How a convolution on the CPU is cut into blocks that fit the cache, and where the products of a block go.

Blocks are cut by shape only, so that results do not depend on how many threads share them. Arrays are channels-last:
x (N, D, H, W, C), y (N, OD, OH, OW, O).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import scratch
from gpunet.ops import max_pool_cpu
from gpunet.ops.elementwise import clip_at_zero
from gpunet.ops.geometry import Geometry, Triple
from gpunet.ops.windows import window_geometry

__all__ = ["Block", "PooledTarget", "Target", "cut", "padded"]

Array = npt.NDArray[Any]

_SHARES, _LEAST_SHARE = 4, 256  # blocks that there should be at least, unless they have fewer outputs than that


@dataclass(frozen=True, slots=True)
class Block:
    """Some images, or adjacent outputs of one image; indices of images and of the three axes."""

    where: tuple[slice, ...]  # the outputs
    pixels: tuple[int, ...]  # how many
    source: tuple[slice, ...]  # the input that they read
    slab: tuple[int, ...]  # size of that input with its padding
    inside: tuple[slice, ...] | None  # where the input lies in the slab; None where it is all of it

    def rows(self, array: Array) -> Array:
        """View these outputs of a contiguous array (N, OD, OH, OW, O) as (rows, O)."""
        return array[self.where].reshape(math.prod(self.pixels), array.shape[-1])


def _pieces(g: Geometry, depth: int, itemsize: int, limits: Triple) -> Iterator[tuple[slice, ...]]:
    """Cut the outputs into whole images, or into pieces of one image where that is large.

    A piece of images has the rows and bytes of columns, `depth` values per row, that `limits` asks for at least;
    no piece has more bytes than its third number, unless one row has. Few images are cut, so that threads can share
    them.
    """
    rows, least_bytes, most_bytes = limits
    per_output = max(1, depth * itemsize)
    per_image = math.prod(g.out_size)
    most = min(most_bytes // per_output, max(_LEAST_SHARE, -(-g.batch * per_image // _SHARES)))
    if per_image <= most:
        images = max(-(-rows // per_image), least_bytes // (per_image * per_output))
        images = max(1, min(images, most // per_image))
        for n in range(0, g.batch, images):
            yield (slice(n, min(n + images, g.batch)), *(slice(0, size) for size in g.out_size))
        return
    inner = (g.out_size[1] * g.out_size[2], g.out_size[2], 1)
    axis = next((axis for axis in range(3) if inner[axis] <= most), 2)  # cut here; one by one along the axes outside
    length = g.out_size[axis]
    step = -(-length // -(-length // max(1, most // inner[axis])))
    for outer in itertools.product(range(g.batch), *map(range, g.out_size[:axis])):
        for first in range(0, length, step):
            whole = (slice(0, size) for size in g.out_size[axis + 1 :])
            yield (*(slice(i, i + 1) for i in outer), slice(first, min(first + step, length)), *whole)


def _along(outputs: slice, axis: int, g: Geometry) -> tuple[slice, int, slice]:
    """Return the input that outputs read along an axis, its extent with padding, and where it lies in that."""
    first = outputs.start * g.stride[axis] - g.padding[axis]
    extent = (outputs.stop - outputs.start - 1) * g.stride[axis] + g.dilation[axis] * (g.window[axis] - 1) + 1
    low, high = max(0, first), min(g.in_size[axis], first + extent)
    if high <= low:
        return slice(0, 0), extent, slice(0, 0)
    return slice(low, high), extent, slice(low - first, high - first)


@functools.lru_cache(maxsize=128)
def cut(g: Geometry, depth: int, itemsize: int, limits: Triple) -> tuple[Block, ...]:
    """Cut a convolution into blocks, of which each output has `depth` values in the columns.

    Args:
        limits: rows and bytes of columns that a block of several images has at least, bytes that a block has at most.
    """
    blocks = []
    for where in _pieces(g, depth, itemsize, limits):
        source, slab, inside = zip(*(_along(where[1 + a], a, g) for a in range(3)), strict=True)
        pixels = tuple(part.stop - part.start for part in where)
        full = all(part == slice(0, size) for part, size in zip(inside, slab, strict=True))
        into = None if full else (slice(None), *inside)
        blocks.append(Block(where, pixels, (where[0], *source), (pixels[0], *slab), into))
    return tuple(blocks)


def padded(x: Array, block: Block) -> Array:
    """Return the input that a block of outputs reads, zeros where it lies in the padding."""
    source = x[block.source]
    if block.inside is None:
        return source
    slab = scratch.get("slab", (*block.slab, x.shape[4]), x.dtype)
    slab.fill(0)
    slab[block.inside] = source
    return slab


class Target:
    """Where products go: into an array of any strides, with bias and ReLU while they are in the cache."""

    def __init__(self, y: Array, bias: Array | None = None, relu: bool = False) -> None:
        self.y, self.bias, self.relu = y, bias, relu
        self._line = np.empty(0, y.dtype)  # the bias, once for each pixel of a line

    def rows(self, block: Block) -> Array:
        """Return memory for the products of a block: (rows, O)."""
        place, count = self.y[block.where], math.prod(block.pixels)
        if place.flags.c_contiguous:
            return place.reshape(count, place.shape[4])
        return scratch.get("products", (count, place.shape[4]), place.dtype)

    def finish(self, block: Block, rows: Array) -> None:
        """Take the products of a block."""
        place = self.y[block.where]
        lines = self.add_bias(block, rows)
        if self.relu:
            clip_at_zero(lines)
        if not place.flags.c_contiguous:
            place[...] = rows.reshape(place.shape)

    def take_tiles(self, block: Block, by_tile: Array) -> None:
        """Take the products of a block by tiles of 2 x 2 pixels, (2, 2, N, TH, TW, O): the last ones may stick out."""
        rows = self.rows(block)
        images = rows.reshape(*block.pixels, rows.shape[1])[:, 0]
        for i, j in np.ndindex(2, 2):
            out = images[:, i::2, j::2]
            out[...] = by_tile[i, j, :, : out.shape[1], : out.shape[2]]
        self.finish(block, rows)

    def add_bias(self, block: Block, rows: Array) -> Array:
        """Add the bias to the products of a block; return them line by line, since NumPy is faster along long rows."""
        lines = rows.reshape(-1, block.pixels[3] * rows.shape[1])
        if self.bias is not None:
            line = self._line  # which another thread may replace meanwhile
            if line.size < lines.shape[1]:
                line = self._line = np.tile(self.bias, block.pixels[3])
            lines += line[: lines.shape[1]]
        return lines


class PooledTarget(Target):
    """Where products of whole images go: through bias, max pooling over 2 x 2 pixels and ReLU, in the cache.

    The bias is added before pooling: rounding could make equals of two products, and another pixel win.
    """

    def __init__(self, y: Array, winner: Array, bias: Array | None, relu: bool) -> None:
        super().__init__(y, bias, relu)
        self.winner = winner

    def rows(self, block: Block) -> Array:
        """Return memory for the products of a block: (rows, O)."""
        return scratch.get("products", (math.prod(block.pixels), self.y.shape[4]), self.y.dtype)

    def finish(self, block: Block, rows: Array) -> None:
        """Take the products of a block."""
        self.add_bias(block, rows)
        pixels, images = rows.reshape(*block.pixels, rows.shape[1]), block.where[0]
        best = self.y[images]
        size = (len(best), rows.shape[1], *block.pixels[2:])
        pairs = window_geometry(size, (2, 2), (2, 2), (0, 0), (1, 1), False)
        max_pool_cpu.pool(best, self.winner[images], pixels, pairs)
        if self.relu:
            clip_at_zero(best)

    def take_tiles(self, block: Block, by_tile: Array) -> None:
        """Take the products of a block by tiles of 2 x 2 pixels: what is pooled lies in four dense arrays already."""
        images = block.where[0]
        best, winner = self.y[images][:, 0], self.winner[images][:, 0]
        pixels = by_tile[:, :, :, : best.shape[1], : best.shape[2]].reshape(4, *best.shape)
        if self.bias is not None:
            pixels += self.bias
        max_pool_cpu.pool_dense(best, winner, pixels)
        if self.relu:
            clip_at_zero(best)
