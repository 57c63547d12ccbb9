"""The candidates for a product, timed in turn, and the verdict on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet.backend.kernel_backend import KernelBackend
from gpunet.cli.tune.layers import DTYPES, Product
from gpunet.ops import choices
from gpunet.ops.choices import Choice, Problem
from gpunet.ops.choices_table import KERNELS, SPLIT, TILED

__all__ = ["LEAST_GAIN", "Lane", "Verdict", "candidates", "clock_of", "decide", "race"]

LEAST_GAIN = 0.03  # of the time; less is not worth a row of its own
_BLOCKS = (1, 66, 132, 264, 528)  # to split for: none, half, one, two, four per multiprocessor of an H100-class GPU
_ROUND, _MOST_CALLS = 3e-4, 20  # seconds of work in a round, as far as so many calls make it

Clock = Callable[[Callable[[], None], int], float]  # (call, calls) -> seconds per call


@dataclass
class Lane:
    """One candidate: seconds per call in each round, or why it cannot win."""

    choice: Choice
    seconds: list[float] = field(default_factory=list)
    calls: int = 1
    fault: str = ""

    @property
    def median(self) -> float:
        """Return the seconds of the middle round."""
        return float(np.median(self.seconds))


def candidates(problem: Problem, quick: bool) -> list[Choice]:
    """Return the choices that are worth timing; the shipped one first."""
    found = [choices.shipped().choose(problem)]
    dtype = DTYPES[problem.dtype][0]
    known = {_launched(problem, found[0], dtype)}
    for kernel in KERNELS[problem.op]:
        all_tiles = TILED.get(kernel, ())
        tiles = [tile for tile in all_tiles if tile.columns < max(2 * problem.columns, 64)] or [Choice(kernel).tile]
        wanted = _BLOCKS[::2] if quick else _BLOCKS
        for tile in tiles:
            for blocks in wanted if kernel in TILED and problem.op in SPLIT else (1,):
                choice = Choice(kernel, tile, blocks)
                launched = _launched(problem, choice, dtype)
                if problem.takes(choice) and launched not in known:
                    known.add(launched)
                    found.append(choice)
    return found


def _launched(problem: Problem, choice: Choice, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """Return what a choice comes to for a product: two that are equal need no race."""
    if choice.kernel not in TILED:
        return (choice.kernel,)
    tiles = choice.tile.count(problem.rows, problem.columns) * problem.groups
    return choice.kernel, choice.tile, choice.split(tiles, problem.depth, dtype)


def clock_of(be: KernelBackend) -> Clock:
    """Return the clock of a backend: CUDA events, or the host's on the emulator, where times mean nothing."""
    return _events(be) if be.name == "cupy" else _host


def _host(call: Callable[[], None], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


_HOLD = """
extern "C" __global__ void hold(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


def _events(be: KernelBackend) -> Clock:
    """Time by events, with the stream held until the host has queued all calls: the GPU never waits for Python."""
    cuda = be.xp.cuda
    kilohertz = cuda.Device(be.device.index).attributes.get("ClockRate", 2_000_000)
    spin = be.xp.RawKernel(_HOLD, "hold")

    def seconds(call: Callable[[], None], calls: int) -> float:
        held = 1e-3
        with be.current():
            for _ in range(6):
                start, end = cuda.Event(), cuda.Event()
                spin((1,), (1,), (np.int64(held * 1000 * kilohertz),))
                start.record()
                for _ in range(calls):
                    call()
                late = start.done
                end.record()
                end.synchronize()
                if not late:
                    break
                held *= 2  # the host was slower than the hold
            milliseconds: float = cuda.get_elapsed_time(start, end)
        return milliseconds / 1000 / calls

    return seconds


def race(be: KernelBackend, product: Product, lanes: Sequence[Lane], clock: Clock, rounds: int) -> Iterator[None]:
    """Check every candidate against the plain kernel, then time those that are right in turn; yield after each step."""
    with choices.force(Choice("plain")):
        product.call()
    expected = be.to_numpy(product.out).copy()
    for lane in lanes:
        _check(be, product, lane, expected)
        if not lane.fault:
            with choices.force(lane.choice):
                lane.calls = max(1, min(_MOST_CALLS, round(_ROUND / max(clock(product.call, 1), 1e-7))))
        yield
    fair = [lane for lane in lanes if not lane.fault]
    for number in range(rounds):
        for lane in fair if number % 2 else reversed(fair):
            with choices.force(lane.choice):
                lane.seconds.append(clock(product.call, lane.calls))
        yield


def _check(be: KernelBackend, product: Product, lane: Lane, expected: Any) -> None:
    """Note a fault where the result differs in a single bit: sums of small whole numbers are exact in any order."""
    try:
        be.fill(product.out, float("nan"))
        with choices.force(lane.choice):
            product.call()
        wrong = int(np.sum(be.to_numpy(product.out) != expected))
    except RuntimeError as error:  # of gpunet, CuPy or the driver
        lane.fault = f"failed: {str(error).splitlines()[0]}"
        return
    if wrong:
        lane.fault = f"WRONG: {wrong} of {expected.size} elements differ from the plain kernel's"


@dataclass(frozen=True)
class Verdict:
    """Who is chosen; by how much faster than the shipped choice the fastest was, and the noise, as shares."""

    lane: Lane | None
    gain: float = 0.0
    noise: float = 0.0


def decide(lanes: Sequence[Lane]) -> Verdict:
    """Keep the shipped choice, the first, unless another is faster by more than the noise.

    The gain is by how much longer the shipped choice took in the same round, in the median; the noise is how far the
    middle half of the rounds lie apart, but at least `LEAST_GAIN`.
    """
    shipped, *others = lanes
    fastest = min((lane for lane in others if not lane.fault), key=lambda lane: lane.median, default=None)
    if shipped.fault:
        return Verdict(fastest)
    if fastest is None:
        return Verdict(shipped)
    low, middle, high = np.quantile(np.array(shipped.seconds) / np.array(fastest.seconds), [0.25, 0.5, 0.75])
    gain, noise = float(middle) - 1, max(LEAST_GAIN, float(high - low))
    return Verdict(fastest if gain > noise else shipped, gain, noise)
