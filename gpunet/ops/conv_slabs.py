"""How the convolution kernels without tensor cores share out their work: the host side of kernels/slab.cuh."""

from __future__ import annotations

import math
from typing import Any

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.ops.geometry import Geometry, Triple, window_struct
from gpunet.ops.reduce import sum_axes, sum_to_channels

__all__ = ["MOST_SHARED", "balanced", "launch_strips", "launch_weights"]

MOST_SHARED = 48 * 1024  # bytes of shared memory that every block may have
_THREADS, _WARP = 256, 32
_WANTED_BLOCKS = 528  # four per multiprocessor of an H100-class GPU
_LEAST_PIXELS = 256  # of a slab from which gradients of weights are made
_COLUMNS, _WEIGHTS = 4, 9  # as in kernels/slab.cuh


def balanced(count: int, most: int) -> tuple[int, int]:
    """Split a count into equal parts, at most so large; return their size and their number.

    >>> balanced(9, 8)
    (5, 2)
    """
    number = blocks(count, most)
    return blocks(count, number), number


def launch_strips(
    be: KernelBackend,
    file: str,
    kernel: str,
    arrays: tuple[Array, Array, Array, Array | None],
    size: Triple,
    g: Geometry,
    threads: tuple[int, int],
    shared: int,
    asked: int,
    per_thread: int = 1,
) -> None:
    """Make images of pixels, strip by strip.

    Args:
        file, kernel: what is launched.
        arrays: out, in, w and b; out is made.
        size: pixels of an image of out.
        g: the convolution.
        threads: how many threads of a block share the channels of a pixel, and how many blocks.
        shared: bytes of shared memory.
        asked: the kernel's last argument.
        per_thread: channels that a thread reads at once.
    """
    out, x, w, b = arrays
    lanes = _THREADS // threads[0]
    strips = g.batch * size[0] * size[1] * blocks(size[2], _COLUMNS)
    per_slab = lanes * max(1, blocks(strips, lanes * blocks(_WANTED_BLOCKS, threads[1])))
    x = be.dense(x, CHANNELS_LAST, per_thread * x.itemsize)
    bias = None if b is None else be.dense(b, CONTIGUOUS)
    with be.dense_output(out, CHANNELS_LAST) as dense:
        args = (dense, x, be.dense(w, CHANNELS_LAST), bias, window_struct(be, g), per_slab, asked)
        grid = blocks(strips, per_slab), threads[1]
        be.launch(file, kernel, grid, (threads[0], lanes), args, shared=shared, REAL=out.dtype)


def launch_weights(
    be: KernelBackend,
    file: str,
    kernel: str,
    gw: Any,
    gb: Any,
    gy: Array,
    x: Array,
    g: Geometry,
    threads: tuple[int, int],
    per_thread: int | None = None,
) -> None:
    """Make the gradients of weights and bias, as far as they are given, in one pass over gy.

    Args:
        file, kernel: what is launched.
        gw, gb, gy, x, g: as in `Products.weight_gradient`.
        threads: how many threads of a block share the channels of a pixel, and how many blocks.
        per_thread: channels that a thread reads at once, where the kernel asks; else it keeps in shared memory what
            pixels see through the weights.
    """
    asked, alignment = () if per_thread is None else (per_thread,), (per_thread or 1) * gy.itemsize
    gy = be.dense(gy, CHANNELS_LAST, alignment)
    if gw is None:
        sum_to_channels(be, gb, gy)
        return
    dtype, depth = accumulator(gy.dtype), gw.size // g.outputs
    most = MOST_SHARED // (_WEIGHTS * (_THREADS + threads[0]) * dtype.itemsize) if per_thread is None else _THREADS
    groups, deep = balanced(blocks(depth, _WEIGHTS), min(most, _THREADS // threads[0]))
    block = threads[0], _THREADS // (threads[0] * groups), groups
    rows = max(_WEIGHTS + 1, _WEIGHTS * groups if per_thread is None else 0)

    slabs = max(1, min(blocks(_WANTED_BLOCKS, threads[1] * deep), blocks(g.out_pixels, _LEAST_PIXELS)))
    partials = be.empty((slabs, gw.size + g.outputs), dtype)
    x = be.dense(x, CHANNELS_LAST, alignment)
    args = (partials, gy, x, window_struct(be, g), blocks(g.out_pixels, slabs), *asked)
    pitch = blocks(math.prod(block), _WARP) * _WARP + threads[0]  # as in kernels/slab.cuh
    shared = rows * pitch * dtype.itemsize
    be.launch(file, kernel, (slabs, threads[1], deep), block, args, shared=shared, REAL=gy.dtype)
    with be.dense_output(gw, CHANNELS_LAST) as out:
        sum_axes(be, out, partials, [(gw.size, 1)], [partials.shape])
    if gb is not None:
        sum_axes(be, gb, partials.reshape(-1)[gw.size :], [(g.outputs, 1)], [partials.shape])
