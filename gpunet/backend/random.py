"""Counter-based random numbers: the same bits on the CPU, the emulator and the GPU.

Philox 4x64-10 with key = (seed, stream). Element i of draw number `call` is word i % 4 of the block with
counter = (i // 4 + 1, call, 0, 0); the 1 stands there because NumPy's generator steps its counter first.
A draw is named by three integers, so any part of it can be made again, in any order and on any device.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend.base import Array
from gpunet.backend.device import Device
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.backend.layout import CHANNELS_LAST, CONTIGUOUS, Layout, from_memory_view, memory_order
from gpunet.errors import DTypeError, ShapeError, layout_message

__all__ = [
    "AUGMENT",
    "DROPOUT",
    "INIT",
    "SHUFFLE",
    "WORDS_PER_BLOCK",
    "Draw",
    "Generator",
    "default_generator",
    "draw_order",
    "from_memory_order",
    "manual_seed",
    "raw_words",
    "to_floats",
]

INIT, SHUFFLE, DROPOUT, AUGMENT = range(4)
STREAMS = ("init", "shuffle", "dropout", "augment")

WORDS_PER_BLOCK = 4  # as in kernels/random.cu


class Draw(NamedTuple):
    """The name of one draw, from which all its words can be made again.

    >>> raw_words(*Draw(seed=7, stream=DROPOUT, call=0), count=2).size
    2
    """

    seed: int
    stream: int
    call: int


class _Philox(threading.local):
    """One bit generator per thread; setting its state costs less than half of building another."""

    def __init__(self) -> None:
        self.bits = np.random.Philox(key=0)


_philox = _Philox()


def raw_words(seed: int, stream: int, call: int, count: int, first: int = 0) -> npt.NDArray[np.uint64]:
    """Return the 64-bit words of elements first ... first + count - 1 of one draw.

    >>> whole = raw_words(seed=7, stream=DROPOUT, call=0, count=10)
    >>> bool((whole[3:] == raw_words(seed=7, stream=DROPOUT, call=0, count=7, first=3)).all())
    True
    """
    block, skipped = divmod(first, WORDS_PER_BLOCK)
    state: Any = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([block, call, 0, 0], np.uint64),
            "key": np.array([seed, stream], np.uint64),
        },
        "buffer": np.zeros(WORDS_PER_BLOCK, np.uint64),
        "buffer_pos": WORDS_PER_BLOCK,
        "has_uint32": 0,
        "uinteger": 0,
    }
    _philox.bits.state = state
    words: npt.NDArray[np.uint64] = _philox.bits.random_raw(skipped + count)
    return words[skipped:]


def to_floats(words: npt.NDArray[np.uint64], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Turn words into uniform numbers in [0, 1): the upper 53 bits (float64) or 24 bits (float32).

    Raises:
        DTypeError: `dtype` is neither float32 nor float64.

    >>> to_floats(np.array([0, 2**63], np.uint64)).tolist()
    [0.0, 0.5]
    """
    chosen = np.dtype(dtype)
    if chosen == np.float64:
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    if chosen == np.float32:
        return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    raise DTypeError(
        layout_message(
            "random",
            "random numbers are not made in this dtype.",
            expected=f"float32 or float64, got {chosen}",
            hint="draw float32 and convert with astype.",
        )
    )


def draw_order(shape: Sequence[int]) -> Layout:
    """Return the memory layout in whose order elements are drawn: channels-last for 4-D and 5-D, else C order.

    >>> draw_order((2, 3, 8, 8)), draw_order((6, 64))
    ('channels_last', 'contiguous')
    """
    return CHANNELS_LAST if len(shape) in (4, 5) else CONTIGUOUS


def from_memory_order(flat: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Give flat draws their shape: a channels-last view of 4-D and 5-D shapes, C order for all others.

    >>> from_memory_order(np.arange(4), (1, 2, 1, 2))[0, :, 0, :].tolist()
    [[0, 2], [1, 3]]
    """
    layout = draw_order(shape)
    memory = flat.reshape([shape[axis] for axis in memory_order(len(shape), layout)])
    shaped: npt.NDArray[Any] = from_memory_view(memory, layout)
    return shaped


class Generator:
    """A seed and one counter of draws per stream: everything random in gpunet comes from these five integers.

    The streams are independent: shuffling one time more changes neither weights nor dropout masks.

    Args:
        seed: an integer in [0, 2**64).
    Raises:
        TypeError: the seed is not an integer.
        ValueError: the seed is out of range.

    >>> generator = Generator(42)
    >>> generator.permutation(5).tolist()
    [4, 3, 0, 2, 1]
    >>> generator.get_state()
    {'seed': 42, 'init': 0, 'shuffle': 1, 'dropout': 0, 'augment': 0}
    """

    seed: int
    calls: list[int]

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def __repr__(self) -> str:
        counters = ", ".join(f"{name}={count}" for name, count in zip(STREAMS, self.calls, strict=True))
        return f"Generator(seed={self.seed}, {counters})"

    def manual_seed(self, seed: int) -> Generator:
        """Start anew from a seed in [0, 2**64), all counters at zero; return the generator itself."""
        self.seed = _word("manual_seed", "seed", seed)
        self.calls = [0] * len(STREAMS)
        return self

    def draw(self, stream: int) -> Draw:
        """Return the name of the next draw of a stream and count it, for draws that are made elsewhere.

        >>> Generator(1).draw(DROPOUT)
        Draw(seed=1, stream=2, call=0)
        """
        call = self.calls[stream]
        self.calls[stream] = call + 1
        return Draw(self.seed, stream, call)

    def uniform(
        self,
        shape: int | Sequence[int],
        low: float = 0.0,
        high: float = 1.0,
        dtype: npt.DTypeLike = np.float32,
        stream: int = INIT,
        device: str | Device = "cpu",
    ) -> Array:
        """Draw uniform numbers in [low, high): the same bits on every device.

            y = low + (high - low) * u,   u in [0, 1), every operation rounded in `dtype`

        Args:
            shape: the shape, or the length of a 1-D array; 4-D and 5-D results are channels-last in memory.
            low: smallest value.
            high: end of the interval, itself never drawn (unless it equals `low`).
            dtype: float32 or float64.
            stream: which counter is used.
            device: where the numbers are made and stay.
        Returns:
            An array of the device's own kind. GPUs flush results below the smallest normal number to 0.
        Raises:
            ShapeError: an axis is negative or not an integer.
            DTypeError: another dtype.
            ValueError: low or high is not finite, or high < low.
            DeviceError: there is no such device.
        Memory: on the CPU four arrays of the result's length for a moment, two of them of 64-bit words.

        >>> Generator(0).uniform((2, 3), -1, 1).shape
        (2, 3)
        """
        sizes = _shape("uniform", shape)
        chosen: Any = np.dtype(dtype).type
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ValueError(
                layout_message("uniform", "not an interval.", expected=f"finite low <= high, got {low} and {high}")
            )
        # Checked before the counter moves: a refused draw leaves the generator as it was.
        to_floats(np.empty(0, np.uint64), chosen)
        be = backend.get(backend.device(device))
        start, end = chosen(low), chosen(high)
        largest = np.nextafter(end, start)  # rounding of the sum can reach `high`, which the interval does not contain
        draw = self.draw(stream)
        if isinstance(be, KernelBackend):
            out = be.empty(sizes, chosen, draw_order(sizes))
            words = be.struct("random.cu", "Draw", **draw._asdict())
            args = (out, words, start, end - start, largest, out.size)
            be.launch("random.cu", "uniform", blocks(out.size, 256 * WORDS_PER_BLOCK), 256, args, REAL=chosen)
            return out
        values = to_floats(raw_words(*draw, math.prod(sizes)), chosen)
        values *= end - start
        values += start
        np.minimum(values, largest, out=values)
        return from_memory_order(values, sizes)

    def permutation(self, n: int) -> npt.NDArray[np.int64]:
        """Draw an order of 0 ... n-1: the stable argsort of n words of stream SHUFFLE.

        Raises:
            ShapeError: n is negative or not an integer.

        >>> sorted(Generator(3).permutation(4).tolist())
        [0, 1, 2, 3]
        """
        (size,) = _shape("permutation", n)
        keys = raw_words(*self.draw(SHUFFLE), size)
        return np.argsort(keys, kind="stable").astype(np.int64, copy=False)

    def get_state(self) -> dict[str, int]:
        """Return the state as plain integers, ready for JSON.

        >>> Generator(9).get_state()["seed"]
        9
        """
        return {"seed": self.seed, **dict(zip(STREAMS, self.calls, strict=True))}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Take over a state that `get_state` returned.

        Raises:
            ValueError: keys are missing or unknown, or a value is out of [0, 2**64).
            TypeError: a value is not an integer.

        >>> first, second = Generator(9), Generator(0)
        >>> first.permutation(100).size
        100
        >>> second.set_state(first.get_state())
        >>> bool((first.permutation(5) == second.permutation(5)).all())
        True
        """
        names = ("seed", *STREAMS)
        if set(state) != set(names):
            raise ValueError(
                layout_message(
                    "set_state",
                    "this is not the state of a generator.",
                    expected=f"the keys {', '.join(names)}, got {', '.join(map(str, state)) or 'none'}",
                )
            )
        seed, *calls = [_word("set_state", name, state[name]) for name in names]
        self.seed, self.calls = seed, calls


def _word(op: str, name: str, value: Any) -> int:
    """Check an integer that must fit one unsigned 64-bit word."""
    expected = f"an integer in [0, 2**64), got {value!r}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(layout_message(op, f"{name} is not an integer.", expected=expected))
    if not 0 <= number < 2**64:
        raise ValueError(layout_message(op, f"{name} is out of range.", expected=expected))
    return number


def _shape(op: str, shape: Any) -> tuple[int, ...]:
    """Check a shape, or a single length."""
    try:
        sizes = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    except TypeError:
        sizes = (-1,)
    if any(size < 0 for size in sizes):
        raise ShapeError(layout_message(op, "not a shape.", expected=f"integers >= 0 for every axis, got {shape!r}"))
    return sizes


default_generator = Generator(0)


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which weights, shuffling and dropout use unless told otherwise; return it.

    Raises:
        TypeError: the seed is not an integer.
        ValueError: the seed is out of [0, 2**64).

    >>> manual_seed(0) is default_generator
    True
    """
    return default_generator.manual_seed(seed)
