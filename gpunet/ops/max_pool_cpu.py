"""Max pooling on the CPU, some images (N, D, H, W, C) at a time.

Where windows are fewer than their elements, or differ, one output after the other looks for its maximum. Elsewhere the
axes are pooled one after the other: k + k comparisons for a window of k * k elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array, blas, scratch
from gpunet.ops.elementwise import pieces
from gpunet.ops.geometry import Geometry
from gpunet.ops.windows import axis_taps, begins, few_outputs, first_taps, output_steps, sharing, tap_steps

__all__ = ["give_back", "pool", "pool_dense", "positions"]


def pool(best: Array, winner: Array, pixels: Array, g: Geometry) -> None:
    """Find the largest pixel of each window, and its number in the window."""
    _share(g, _pool_by_output if few_outputs(g) else _pool_by_axis, best, winner, pixels)


def pool_dense(best: Array, winner: Array, values: Array) -> None:
    """Find the largest of `values` along their first axis, and its place; NaN wins, the last one of several."""
    larger, number = scratch.get("larger", best.shape, np.bool_), scratch.get("number", best.shape, winner.dtype)
    np.greater(values[1], values[0], out=larger)
    np.copyto(winner, larger, casting="unsafe")
    np.maximum(values[0], values[1], out=best)
    for tap in range(2, len(values)):
        np.greater(values[tap], best, out=larger)
        np.multiply(larger, winner.dtype.type(tap), out=number)
        np.maximum(winner, number, out=winner)
        np.maximum(best, values[tap], out=best)
    if np.isnan(best).any():
        for tap, value in enumerate(values):
            np.copyto(winner, tap, where=np.isnan(value))


def give_back(gx: Array, gy: Array, winner: Array, g: Geometry) -> None:
    """Give the gradients of the outputs to their winners."""
    _share(g, _give_back_by_output if few_outputs(g) else _give_back_by_tap, gx, gy, winner)


def _share(g: Geometry, work: Callable[..., None], *arrays: Array) -> None:
    """Let threads share the images; most NumPy calls work on one value per output."""
    pixels = g.in_pixels if few_outputs(g) else g.out_pixels
    images = pieces(g.batch, pixels * g.channels // max(g.batch, 1))
    blas.parallel(len(images), lambda i: work(*(array[images[i]] for array in arrays), g))


def _pool_by_axis(best: Array, winner: Array, pixels: Array, g: Geometry) -> None:
    """Find the maxima of the rows of all windows, then of the columns of these, then along the depth."""
    weights = g.window[1] * g.window[2], g.window[2], 1
    axes = [axis for axis in (2, 1, 0) if g.window[axis] > 1 or g.out_size[axis] != g.in_size[axis]] or [2]
    values, numbers = pixels, None
    for axis in axes:
        maxima, winners = best, winner
        if axis != axes[-1]:
            shape = *values.shape[: axis + 1], g.out_size[axis], *values.shape[axis + 2 :]
            maxima = scratch.get(f"maxima{axis}", shape, best.dtype)
            winners = scratch.get(f"winners{axis}", shape, winner.dtype)
        _pool_axis(maxima, winners, values, numbers, g, axis, weights[axis])
        values, numbers = maxima, winners
    first = first_taps(g)[..., None].astype(winner.dtype)
    if first.any():
        np.maximum(winner, first, out=winner)  # where all that a window sees is -infinity
    for n in np.flatnonzero(np.isnan(best).any(axis=(1, 2, 3, 4))):
        _pool_by_output(best[n : n + 1], winner[n : n + 1], pixels[n : n + 1], g)


def _pool_axis(
    best: Array, winner: Array, values: Array, numbers: Array | None, g: Geometry, axis: int, weight: int
) -> None:
    """Pool one axis: a later tap wins where it is larger. Its number: place times weight, plus the value's own."""
    larger, number = scratch.get("larger", best.shape, np.bool_), scratch.get("number", best.shape, winner.dtype)
    taps, at, everything = [*axis_taps(g)[axis]], (slice(None),) * (1 + axis), slice(0, g.out_size[axis])
    largest = best
    if [outputs for _, outputs, _ in taps[:2]] == [everything] * 2:  # the second tap is compared with the first
        (tap, _, inputs), *taps = taps
        largest = values[(*at, inputs)]
        winner[...] = weight * tap + (0 if numbers is None else numbers[(*at, inputs)])
    else:
        best.fill(-np.inf)
        winner.fill(0)
    for tap, outputs, inputs in taps:
        here, there, its_number = (*at, outputs), (*at, inputs), winner.dtype.type(weight * tap)
        np.greater(values[there], largest[here], out=larger[here])
        np.maximum(values[there], largest[here], out=best[here])
        if numbers is None:
            np.multiply(larger[here].view(np.uint8), its_number, out=number[here])
        else:
            np.add(numbers[there], its_number, out=number[here])
            number[here] *= larger[here].view(np.uint8)
        np.maximum(winner[here], number[here], out=winner[here])
        largest = best


def _pool_by_output(best: Array, winner: Array, pixels: Array, g: Geometry) -> None:
    """Look for the maximum of one window after the other."""
    best.fill(-np.inf)
    winner.fill(0)
    for first, output, inputs in output_steps(g):
        window = pixels[(slice(None), *inputs)]
        values = window.reshape(len(window), -1, window.shape[4])
        chosen = values.argmax(axis=1)
        largest = np.take_along_axis(values, chosen[:, None], axis=1)[:, 0]
        if np.isnan(largest).any():  # argmax stops at the first NaN, but the last one wins
            last = values.shape[1] - 1 - np.isnan(values[:, ::-1]).argmax(axis=1)
            chosen = np.where(np.isnan(largest), last, chosen)
        taps = np.unravel_index(chosen, window.shape[1:4])
        here = (slice(None), *output)
        winner[here] = g.tap_number(*(a + b for a, b in zip(first, taps, strict=True))).reshape(winner[here].shape)
        best[here] = largest.reshape(best[here].shape)


def _give_back_by_tap(gx: Array, gy: Array, winner: Array, g: Geometry) -> None:
    """Give inputs the gradients of the outputs that they won through one tap after the other."""
    once, covered = sharing(g)
    if not covered:
        gx.fill(0)
    bits = np.dtype(f"i{gy.itemsize}")
    for tap, outputs, inputs in tap_steps(g):
        here, there = (slice(None), *outputs), (slice(None), *inputs)
        # A mask of ones or zeros keeps or clears all bits: exact for infinities too, and fast.
        mask = np.negative((winner[here] == tap).view(np.int8))
        if once:
            np.bitwise_and(gy[here].view(bits), mask, out=gx[there].view(bits))
        else:
            gx[there] += np.bitwise_and(gy[here].view(bits), mask).view(gy.dtype)


def _give_back_by_output(gx: Array, gy: Array, winner: Array, g: Geometry) -> None:
    """Give the gradients of one output after the other to their winners."""
    gx.fill(0)
    images, channels = np.arange(len(gx))[:, None], np.arange(gx.shape[4])
    pixels = gx.reshape(len(gx), -1, gx.shape[4])
    for output in itertools.product(*map(range, g.out_size)):
        here = (slice(None), *output)
        starts = [int(begin[o]) for begin, o in zip(begins(g), output, strict=True)]
        position, inside = positions(g, winner[here], starts)
        pixels[images, np.where(inside, position, 0), channels] += np.where(inside, gy[here], 0)


def positions(g: Geometry, winner: Array, starts: Iterable[Any]) -> tuple[Array, Array]:
    """Return where winners lie in the flattened input, from where their windows start, and whether they do."""
    position, inside = np.int64(0), np.True_
    taps = g.tap_position(winner.astype(np.int64))
    for n, start, dilation, tap in zip(g.in_size, starts, g.dilation, taps, strict=True):
        at = start + tap * dilation
        inside = inside & (at >= 0) & (at < n)
        position = position * n + at
    return position, inside
