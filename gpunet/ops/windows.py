"""Windows of pooling: their sizes, and which output sees which input.

An axis with a stride of 0 is adaptive: its windows divide the input as evenly as they can, and `window` is the size
of the largest. Where they divide it without a rest, the axis has an ordinary stride.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import Array, Backend
from gpunet.ops.geometry import Geometry, triple

__all__ = [
    "adaptive_geometry",
    "axis_steps",
    "axis_taps",
    "begins",
    "elements",
    "few_outputs",
    "first_taps",
    "opened",
    "output_steps",
    "seeing_inputs",
    "seen_by_outputs",
    "sharing",
    "tap_steps",
    "window_geometry",
]

Positions = npt.NDArray[np.int64]
Index = tuple[Any, ...]
Step = tuple[int, slice, slice]


@functools.lru_cache(maxsize=4096)
def window_geometry(
    input_size: tuple[int, ...],
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    ceil_mode: bool,
) -> Geometry:
    """Return the sizes with three spatial axes; an output size below 1 means that the window does not fit."""
    out_size = []
    for n, k, s, p, d in zip(input_size[2:], kernel_size, stride, padding, dilation, strict=True):
        span = n + 2 * p - d * (k - 1) - 1
        out = -(-span // s) + 1 if ceil_mode else span // s + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1  # the last window must start inside the input or its left padding
        out_size.append(out)
    return _geometry(input_size, out_size, kernel_size, stride, padding, dilation)


@functools.lru_cache(maxsize=4096)
def adaptive_geometry(input_size: tuple[int, ...], output_size: tuple[int, ...]) -> Geometry:
    """Return the sizes where output i sees the elements from floor(i * size / out) to ceil((i + 1) * size / out)."""
    axes = list(zip(input_size[2:], output_size, strict=True))
    window = [max(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n, out in axes]
    stride = [0 if n % out else n // out for n, out in axes]
    none = (0,) * len(axes)
    return _geometry(input_size, output_size, window, stride, none, (1,) * len(axes))


def _geometry(input_size: tuple[int, ...], out_size: Sequence[int], *window: Sequence[int]) -> Geometry:
    sizes = (triple(values, missing) for values, missing in zip(window, (1, 1, 0, 1), strict=True))
    channels = input_size[1]
    return Geometry(input_size[0], channels, channels, 1, triple(input_size[2:], 1), triple(out_size, 1), *sizes)


# Which output sees which input, on any array library.


def begins(g: Geometry) -> tuple[Positions, ...]:
    """Return, for each axis, where the windows of the outputs begin; in the padding where that is negative."""
    axes = zip(g.in_size, g.out_size, g.stride, g.padding, strict=True)
    return tuple(np.arange(out) * s - p if s else np.arange(out) * n // out for n, out, s, p in axes)


def _ends(g: Geometry) -> tuple[Positions, ...]:
    """Return, for each axis, the input position that the outputs do not see any more."""
    axes = zip(g.in_size, g.out_size, g.stride, strict=True)
    return tuple(np.full(out, n) if s else -(-np.arange(1, out + 1) * n // out) for n, out, s in axes)


def opened(axes: Sequence[Any], trailing: int = 0) -> Index:
    """Give the values of three axes a place of their own, so that they broadcast to (D, H, W, ...)."""
    shapes = ([-1 if a == axis else 1 for a in range(3 + trailing)] for axis in range(3))
    return tuple(np.reshape(values, shape) for values, shape in zip(axes, shapes, strict=True))


@functools.lru_cache(maxsize=64)
def _seen(g: Geometry) -> tuple[Positions, ...]:
    """Return, for each axis, the input position behind each tap of each output (out, window); -1 for none."""
    tables = []
    for begin, end, k, d in zip(begins(g), _ends(g), g.window, g.dilation, strict=True):
        position = begin[:, None] + np.arange(k) * d
        tables.append(np.where((position >= 0) & (position < end[:, None]), position, -1))
    return tuple(tables)


@functools.lru_cache(maxsize=64)
def _seeing(g: Geometry) -> tuple[tuple[Positions, Positions], ...]:
    """Return, for each axis, the outputs that see each input position, and their taps: (in, most) each; -1 for none."""
    tables = []
    for n, seen in zip(g.in_size, _seen(g), strict=True):
        outputs, taps = np.nonzero(seen >= 0)
        positions = seen[outputs, taps]
        order = np.argsort(positions, kind="stable")
        counts = np.bincount(positions, minlength=n)
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        pair = np.full((2, n, max(1, counts.max())), -1)
        pair[:, positions[order], rank] = outputs[order], taps[order]
        tables.append((pair[0], pair[1]))
    return tuple(tables)


def _everywhere(be: Backend, axes: Sequence[Positions]) -> Index:
    """Return the index into (N, C, D, H, W) of positions on three axes; 0 stands for those that do not exist."""
    return (slice(None), slice(None), *(be.from_numpy(np.maximum(values, 0)) for values in opened(axes)))


def _exists(axes: Sequence[Positions]) -> npt.NDArray[np.bool_]:
    """Say for which (D, H, W) no axis has -1."""
    depth, height, width = (values >= 0 for values in opened(axes))
    return depth & height & width


def seen_by_outputs(be: Backend, g: Geometry) -> Iterator[tuple[int, Index, Array]]:
    """Yield each tap: its number, the index of what the outputs see through it, and which of them see anything."""
    for number, tap in enumerate(itertools.product(*map(range, g.window))):
        axes = [table[:, t] for table, t in zip(_seen(g), tap, strict=True)]
        yield number, _everywhere(be, axes), be.from_numpy(_exists(axes))


def seeing_inputs(be: Backend, g: Geometry) -> Iterator[tuple[Array, Index, Array]]:
    """Yield the outputs that see the inputs, one of each input at a time: its tap, its index, whether it exists."""
    for ranks in itertools.product(*(range(outputs.shape[1]) for outputs, _ in _seeing(g))):
        outputs = [outputs[:, rank] for (outputs, _), rank in zip(_seeing(g), ranks, strict=True)]
        taps = [taps[:, rank] for (_, taps), rank in zip(_seeing(g), ranks, strict=True)]
        yield be.from_numpy(g.tap_number(*opened(taps))), _everywhere(be, outputs), be.from_numpy(_exists(outputs))


# The same for NumPy, in slices.


@functools.lru_cache(maxsize=64)
def _taps_inside(g: Geometry) -> tuple[tuple[Positions, Positions], ...]:
    """Return, for each axis, the first tap of each output that sees anything, and how many do."""
    taps = []
    for begin, end, k, d in zip(begins(g), _ends(g), g.window, g.dilation, strict=True):
        first = np.maximum(-(begin // d), 0)
        taps.append((first, np.maximum(np.minimum((end - 1 - begin) // d, k - 1) - first + 1, 0)))
    return tuple(taps)


def elements(g: Geometry, with_padding: bool) -> tuple[Positions, ...]:
    """Return, for each axis, how many elements each output sees, with or without padding but never beyond it."""
    counts = []
    for n, k, s, p, begin, taps in zip(
        g.in_size, g.window, g.stride, g.padding, begins(g), _taps_inside(g), strict=True
    ):
        counts.append(np.minimum(begin + k, n + p) - begin if s and with_padding else taps[1])
    return tuple(counts)


@functools.lru_cache(maxsize=64)
def first_taps(g: Geometry) -> Positions:
    """Return the first tap through which each output (D, H, W) sees anything; 0 where there is none."""
    depth, height, width = opened([count > 0 for _, count in _taps_inside(g)])
    taps = g.tap_number(*opened([first for first, _ in _taps_inside(g)]))
    return np.where(depth & height & width, taps, 0)


@functools.lru_cache(maxsize=64)
def sharing(g: Geometry) -> tuple[bool, bool]:
    """Say whether each input is seen once at most, and whether each is seen exactly once."""
    once = covered = True
    for axis, n in enumerate(g.in_size):
        times = np.zeros(n, np.int64)
        for _, _, inputs in _by_tap(g, axis) if g.stride[axis] else _by_output(g, axis):
            times[inputs] += 1
        once, covered = once and bool(times.max() <= 1), covered and bool(times.min() >= 1)
    return once, once and covered


def _by_tap(g: Geometry, axis: int) -> list[Step]:
    """Return each tap of an axis with a stride that sees anything: (tap, outputs that see through, what they see)."""
    steps, stride = [], g.stride[axis]
    for tap in range(g.window[axis]):
        begin = tap * g.dilation[axis] - g.padding[axis]  # what output 0 sees
        first = max(-(begin // stride), 0)
        last = min((g.in_size[axis] - 1 - begin) // stride, g.out_size[axis] - 1)
        if first <= last:
            inputs = slice(first * stride + begin, last * stride + begin + 1, stride)
            steps.append((tap, slice(first, last + 1), inputs))
    return steps


def _by_output(g: Geometry, axis: int) -> list[Step]:
    """Return each output of one axis that sees anything: (its first tap that does, the output, what it sees)."""
    steps, dilation, begin, (first_tap, taps) = [], g.dilation[axis], begins(g)[axis], _taps_inside(g)[axis]
    for output in np.flatnonzero(taps).tolist():
        first = int(first_tap[output])
        start, stop = (int(begin[output]) + tap * dilation for tap in (first, first + int(taps[output]) - 1))
        steps.append((first, slice(output, output + 1), slice(start, stop + 1, dilation)))
    return steps


def few_outputs(g: Geometry) -> bool:
    """Say whether a loop over outputs is shorter than one over taps, or the only one: adaptive windows differ."""
    return 0 in g.stride or math.prod(g.out_size) < g.taps


@functools.lru_cache(maxsize=64)
def axis_taps(g: Geometry) -> tuple[tuple[Step, ...], ...]:
    """Return how to walk each axis by taps: (tap, outputs that see through it, what they see)."""
    return tuple(tuple(_by_tap(g, axis)) for axis in range(3))


@functools.lru_cache(maxsize=64)
def tap_steps(g: Geometry) -> tuple[tuple[int, Index, Index], ...]:
    """Return how to walk an image (D, H, W, C) by taps: (number, outputs that see through the tap, what they see)."""
    walk = (tuple(zip(*step, strict=True)) for step in itertools.product(*axis_taps(g)))
    return tuple((g.tap_number(*taps), outputs, inputs) for taps, outputs, inputs in walk)


@functools.lru_cache(maxsize=64)
def output_steps(g: Geometry) -> tuple[tuple[Index, Index, Index], ...]:
    """Return how to walk an image (D, H, W, C) by outputs: (position of its first tap, the output, what it sees)."""
    axes = (_by_output(g, axis) for axis in range(3))
    walk = (tuple(zip(*step, strict=True)) for step in itertools.product(*axes))
    return tuple((taps, output, inputs) for taps, output, inputs in walk)


@functools.lru_cache(maxsize=64)
def axis_steps(g: Geometry) -> tuple[tuple[tuple[slice, slice], ...], ...]:
    """Return how to walk each axis alone: pairs (outputs, inputs) of equal length, or of one output and all it sees."""
    axes = []
    for axis in range(3):
        walk = _by_tap if g.stride[axis] and g.window[axis] < g.out_size[axis] else _by_output
        axes.append(tuple((outputs, inputs) for _, outputs, inputs in walk(g, axis)))
    return tuple(axes)
