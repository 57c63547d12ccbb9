"""Cases of dropout, and uniform numbers made by a kernel."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import CHANNELS_LAST, CONTIGUOUS
from gpunet.backend.random import AUGMENT, DROPOUT, Draw, Generator, from_memory_order, raw_words, to_floats
from tests.harness.case import Case, Special

# Large words: an implementation that cuts one off gives another mask.
DRAW = Draw(seed=0xFEDCBA9876543210, stream=DROPOUT, call=0x123456789ABCDEF1)
SHAPES = [(), (1,), (3,), (1021,), (5, 7), (2, 3, 5), (1, 1, 1, 1), (2, 3, 4, 5), (3, 2, 3, 2, 5), (0, 3, 2, 2)]


def mask(shape, p, draw=DRAW):
    """Return which elements are kept, from the words of the host."""
    return from_memory_order(to_floats(raw_words(*draw, int(np.prod(shape))), np.float64) >= p, shape)


def _dropout(torch, x, p, generator):
    return x * torch.tensor(mask(x.shape, p, generator)) / (1 - p)


def _channels(torch, x, p, generator):
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    return x * torch.tensor(mask(shape, p, generator)) / (1 - p)


# A probability that is itself the number of element 5: that element is kept.
DRAWN = float(to_floats(raw_words(*DRAW, 6), np.float64)[5])


def dropout_case(op, x, p, id="", torch=_channels):
    attrs = {"p": p, "generator": DRAW}
    return Case(op, {"x": x}, {"dropout": 1}, {"x": {"dropout": 1}}, attrs, torch=torch, id=id)


CASES = [
    dropout_case(ops.dropout, (2, 3, 5), 0.4, torch=_dropout),
    dropout_case(ops.dropout, (2, 3, 4, 5), 0.25, torch=_dropout),
    dropout_case(ops.dropout, (2, 3, 2, 3, 2), 0.5, torch=_dropout),
    dropout_case(ops.dropout, (1031,), 0.7, id="two-blocks-of-threads", torch=_dropout),
    dropout_case(ops.dropout, (7,), DRAWN, id="p-is-drawn", torch=_dropout),
    dropout_case(ops.dropout1d, (5, 3, 4), 0.5),
    dropout_case(ops.dropout2d, (3, 5, 4, 3), 0.4),
    dropout_case(ops.dropout2d, (2, 9, 20, 11), 0.4, id="two-blocks-of-threads"),
    dropout_case(ops.dropout3d, (3, 2, 2, 3, 2), 0.3),
]


def uniform_makes_the_bits_of_the_host(be):
    for dtype in (np.float32, np.float64):
        for low, high in ((0, 1), (-0.3, 0.7), (1, 1 + 2**-20), (3, 3)):
            for shape in SHAPES:
                seed = DRAW.seed
                values = Generator(seed).uniform(shape, low, high, dtype, AUGMENT, be.device)
                expected = Generator(seed).uniform(shape, low, high, dtype, AUGMENT)
                assert (values.shape, values.strides) == (expected.shape, expected.strides)
                assert be.to_numpy(values).tobytes() == expected.tobytes(), (dtype, low, high, shape)


def channels_are_dropped_in_all_pixels_by_few_threads(be):
    """Each thread takes several pixels; channels are neighbours in memory, or pixels are."""
    module = importlib.import_module("gpunet.ops.dropout")
    x = np.random.default_rng(2).standard_normal((2, 8, 29, 23)).astype(np.float32)
    expected = x * mask((2, 8, 1, 1), 0.5) * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCKS", 1)
        for layout in (CONTIGUOUS, CHANNELS_LAST):
            array = be.empty(x.shape, np.float32, layout)
            be.copy(array, be.from_numpy(x))
            assert np.array_equal(be.to_numpy(ops.dropout2d(array, 0.5, generator=DRAW)), expected), layout


SPECIALS = [
    Special(("dropout",), channels_are_dropped_in_all_pixels_by_few_threads),
    Special(("uniform",), uniform_makes_the_bits_of_the_host),
]
