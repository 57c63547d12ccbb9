"""Dropout of single elements and of whole channels; masks are made again in backward, never stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import CONTIGUOUS, Array, Backend, Layout, blas, layout_of
from gpunet.backend.kernel_backend import KernelBackend, blocks, power_of_two
from gpunet.backend.layout import coalesce, memory_order, memory_view
from gpunet.backend.random import (
    DROPOUT,
    WORDS_PER_BLOCK,
    Draw,
    Generator,
    default_generator,
    draw_order,
    from_memory_order,
    raw_words,
    to_floats,
)
from gpunet.errors import ShapeError, layout_message
from gpunet.ops.base import Op, Out, like

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]

_BLOCK, _BLOCKS = 256, 1024  # threads, as in the kernel's launch bounds; blocks that fill a large GPU
_CHUNK = 1 << 15  # elements: their words fit the cache
_NO_DRAW = Draw(0, DROPOUT, 0)  # where nothing is dropped


class Dropout(Op):
    """Set elements to zero at random and scale the others, so that the expectation stays.

        y = x * mask / (1 - p),   mask[i] = 1 where u[i] >= p, else 0

    u[i] in [0, 1) is the 53-bit uniform number of element i, counted in channels-last memory order for 4-D and 5-D x,
    in C order else: the same mask for every dtype, memory layout and device. dropout1d, dropout2d and dropout3d draw
    one number for each channel of each image. The gradient is gy * mask / (1 - p).

    Args:
        x: any shape for dropout, (N, C, *spatial) for the others; any float dtype.
        p: probability of zero, in [0, 1].
        training: False returns x itself, as p = 0 does.
        generator: source of the next draw, the default generator if None; or the name of a draw, which
            the stand-alone gradient needs: `Generator.draw` returns one.

    Returns:
        Shape, dtype and layout of x.

    Raises:
        ValueError: p is not in [0, 1], or the gradient is not told which draw it belongs to.
        ShapeError: x has not the spatial axes that the name says.
        DTypeError: x is not floating-point.

    Memory: nothing is kept for the gradient; it makes the mask again. The CPU holds a chunk of words per thread.
    Source: Srivastava et al. 2014; Tompson et al. 2015 (channels).

    Example:
        >>> from gpunet import Generator
        >>> dropout(np.ones(8), 0.5, generator=Generator(0))
        array([2., 0., 0., 2., 2., 2., 0., 0.])
    """

    gradients = ("x",)

    def __init__(self, spatial: int = 0) -> None:
        self.spatial = spatial  # 0: single elements
        self.axes = {"x": ("N", "C", *"DHW"[3 - spatial :])} if spatial else {}
        super().__init__(f"dropout{spatial}d" if spatial else "dropout")

    def bind(
        self, x: Array, p: float = 0.5, training: bool = True, *, generator: Generator | Draw | None = None
    ) -> tuple[tuple[Array], dict[str, Any]]:
        p = probability(self.__name__, p)
        if not training or p == 0:
            return (x,), {"p": 0.0, "draw": _NO_DRAW}
        if isinstance(generator, Draw):
            return (x,), {"p": p, "draw": generator}
        if x is None:
            problem = "the draw of the forward call is not named."
            hint = "draw = generator.draw(backend.random.DROPOUT), then generator=draw in both calls"
            raise ValueError(layout_message(f"{self.__name__}.grad", problem, hint=hint))
        return (x,), {"p": p, "draw": (default_generator if generator is None else generator).draw(DROPOUT)}

    def infer(self, x: Array, **attrs: Any) -> tuple[Out]:
        self.require_floats(x=x)
        if self.spatial and x.ndim != self.spatial + 2:
            raise self.error(
                ShapeError,
                "x has the wrong number of axes.",
                expected=f"{self.spatial + 2} axes, got {x.ndim}",
                hint="a single image needs a batch axis: x[None]" if x.ndim == self.spatial + 1 else "",
                x=x,
            )
        return (like(x),)

    def run(self, arrays: Sequence[Any], attrs: dict[str, Any]) -> tuple[Array, ...]:
        """Return x itself where nothing is dropped."""
        if attrs["p"]:
            return super().run(arrays, attrs)
        self.infer(*arrays)
        return tuple(arrays)

    def _mask_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *[1] * self.spatial) if self.spatial else shape

    def reference(self, be: Backend, y: Array, x: Array, *, p: float, draw: Draw) -> None:
        shape = self._mask_shape(x.shape)
        uniform = to_floats(raw_words(*draw, math.prod(shape)), np.float64)
        factor = from_memory_order(np.where(uniform >= p, _scale(p), 0), shape)
        y[...] = x * be.from_numpy(factor.astype(y.dtype))

    def cpu(self, be: Backend, y: Array, x: Array, *, p: float, draw: Draw) -> None:
        shape, order = self._mask_shape(x.shape), draw_order(x.shape)
        if shape != x.shape:
            count = math.prod(shape)
            np.multiply(x, from_memory_order(_factors(draw, p, count, 0, y.dtype), shape), out=y)
            return
        with be.dense_output(y, order) as out:
            flat_y, flat_x = (memory_view(a, order).reshape(-1) for a in (out, be.dense(x, order)))

            def drop(chunk: int) -> None:
                part = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
                piece = flat_y[part]
                np.multiply(flat_x[part], _factors(draw, p, piece.size, part.start, piece.dtype), out=piece)

            blas.parallel(blocks(flat_y.size, _CHUNK), drop)

    def cuda(self, be: KernelBackend, y: Array, x: Array, *, p: float, draw: Draw) -> None:
        layout, mask_shape = layout_of(y) or CONTIGUOUS, self._mask_shape(y.shape)
        drawn, shared = _walks(y, mask_shape, draw_order(y.shape))
        draws = math.prod(mask_shape)
        copies = y.size // draws if draws else 0
        args = (
            y,
            be.dense(x, layout),
            be.struct("random.cu", "Draw", **draw._asdict()),
            _threshold(p),
            _scale(p),
            be.axes(*drawn),
            be.axes(*shared),
            draws,
            copies,
        )
        grid, block = _threads(blocks(draws, WORDS_PER_BLOCK), copies, shared[1][-1:] == [1])
        be.launch("random.cu", "dropout", grid, block, args, REAL=y.dtype)

    def infer_grad(self, gy: Array, **attrs: Any) -> tuple[Out]:
        return (self.infer(gy)[0],)

    def grad_reference(self, be: Backend, gx: Array, gy: Array, **attrs: Any) -> None:
        self.reference(be, gx, gy, **attrs)

    def grad_cpu(self, be: Backend, gx: Array, gy: Array, **attrs: Any) -> None:
        self.cpu(be, gx, gy, **attrs)

    def grad_cuda(self, be: KernelBackend, gx: Array, gy: Array, **attrs: Any) -> None:
        self.cuda(be, gx, gy, **attrs)


def probability(name: str, p: float) -> float:
    """Return p, or raise ValueError in the name of an op or a layer."""
    if not 0 <= p <= 1:
        raise ValueError(layout_message(name, "p is not a probability.", expected=f"a number from 0 to 1, got {p!r}"))
    return float(p)


def _scale(p: float) -> float:
    """Return what kept elements are multiplied with; at p = 1 there are none."""
    return 1 / (1 - p) if p < 1 else 0.0


def _threshold(p: float) -> int:
    """Return the smallest 53-bit integer k with k * 2**-53 >= p: what the upper bits of a kept word are at least."""
    return math.ceil(math.ldexp(p, 53))


def _factors(draw: Draw, p: float, count: int, first: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return mask / (1 - p) for some elements of a draw, in draw order."""
    words = raw_words(*draw, count, first)
    words >>= np.uint64(11)
    return np.multiply(words >= np.uint64(_threshold(p)), _scale(p), dtype=dtype)


def _walks(y: Array, mask_shape: tuple[int, ...], order: Layout) -> list[list[list[int]]]:
    """Return (sizes, element strides) that walk dense y over the draws of a mask, and over the copies of one draw."""
    axes = memory_order(y.ndim, order)
    drawn = [axis for axis in axes if mask_shape[axis] == y.shape[axis]]
    shared = [axis for axis in axes if mask_shape[axis] != y.shape[axis]]
    return [
        coalesce([y.shape[axis] for axis in walked], [y.strides[axis] // y.itemsize for axis in walked])
        for walked in (drawn, shared)
    ]


def _threads(words: int, copies: int, copies_adjacent: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (grid, block) over blocks of words and copies: neighbours in memory go to neighbours in a warp."""
    across = 1 if copies_adjacent else min(_BLOCK, power_of_two(words))
    grid = blocks(words, across)
    most = max(1, _BLOCKS // max(grid, 1))  # more threads than the GPU holds would only make words again
    return (grid, min(blocks(copies, _BLOCK // across), most)), (across, _BLOCK // across)


dropout = Dropout()
dropout1d, dropout2d, dropout3d = (Dropout(spatial) for spatial in (1, 2, 3))
