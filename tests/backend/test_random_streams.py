"""The streams are random: uniform, uncorrelated within and between draws. Seeds are fixed, so results are too.

Every statistic is a standard normal deviate under the hypothesis; all must lie within LIMIT. Of some 1500 deviates one
beyond 4.5 has a probability of 1 %.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend.random import STREAMS, Draw, Generator, raw_words, to_floats

LIMIT = 4.5
COUNT = 1 << 16
SEEDS = (0, 1, 2**63, 2026)


def words(seed=0, stream=0, call=0, count=COUNT):
    return raw_words(seed, stream, call, count)


def chi_square(counts):
    """Return the deviate of the chi-square statistic of counts that should be equal (Wilson and Hilferty 1931)."""
    counts, freedom = np.asarray(counts, np.float64), np.size(counts) - 1
    statistic = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    spread = 2 / (9 * freedom)
    return ((statistic / freedom) ** (1 / 3) - (1 - spread)) / np.sqrt(spread)


def correlation(a, b):
    """Return the deviate of the correlation of two sequences of words."""
    return np.corrcoef(to_floats(a, np.float64), to_floats(b, np.float64))[0, 1] * np.sqrt(len(a))


def bits(sequence):
    """Return the deviate of the number of ones at each of the 64 places."""
    ones = np.unpackbits(sequence.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=0, dtype=np.int64)
    return (ones - len(sequence) / 2) / np.sqrt(len(sequence) / 4)


def deviates(sequence):
    """Return everything that is asked of one sequence."""
    for shift in (0, 24, 40, 56):  # the lowest byte, and the uppermost ones of what floats are made of
        yield chi_square(np.bincount((sequence >> np.uint64(shift)).astype(np.uint8), minlength=256))
    yield from bits(sequence)
    for lag in (*range(1, 9), 1024):  # within a block of four words, and from block to block
        yield correlation(sequence[lag:], sequence[:-lag])


@pytest.mark.parametrize("stream", range(len(STREAMS)), ids=STREAMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_stream_is_uniform_and_without_serial_correlation(seed, stream):
    assert max(map(abs, deviates(words(seed, stream)))) < LIMIT


BAD = {
    "counter": np.arange(COUNT, dtype=np.uint64) << np.uint64(48),
    "stuck bit": words() | np.uint64(1 << 45),
    "repeated words": np.repeat(words(count=COUNT // 2), 2),
    "too even": words() >> np.uint64(16)
    | np.random.default_rng(0).permutation(COUNT).astype(np.uint64) << np.uint64(48),
}


@pytest.mark.parametrize("sequence", BAD.values(), ids=BAD)
def test_the_statistics_see_numbers_that_are_not_random(sequence):
    assert max(map(abs, deviates(sequence))) > LIMIT


NEIGHBOURS = {
    "streams": [{"stream": stream} for stream in range(len(STREAMS))],
    "calls": [{"stream": 2, "call": call} for call in (0, 1, 2, 3, 2**32)],
    "seeds": [{"seed": seed} for seed in (0, 1, 2, 3, 2**32)],
}


@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_draws_whose_names_are_neighbours_are_independent(kind):
    for one, other in itertools.combinations(NEIGHBOURS[kind], 2):
        a, b = words(**one), words(**other)
        assert abs(correlation(a, b)) < LIMIT and abs(correlation(a[1:], b[:-1])) < LIMIT, (one, other)
        assert np.abs(bits(a ^ b)).max() < LIMIT, (one, other)


@pytest.mark.parametrize("p", [0.01, 0.25, 0.5, 0.9])
def test_dropout_drops_the_share_that_it_is_told(p):
    kept = np.count_nonzero(ops.dropout(np.ones(COUNT), p, generator=Generator(1)))
    channels = ops.dropout2d(np.ones((64, 128, 2, 3)), p, generator=Generator(2))[:, :, 0, 0]
    for found, count in ((kept, COUNT), (np.count_nonzero(channels), channels.size)):
        assert abs(found - count * (1 - p)) / np.sqrt(count * p * (1 - p)) < LIMIT


def test_dropout_treats_all_elements_and_all_calls_alike():
    generator = Generator(3)
    kept = np.array([ops.dropout(np.ones(64), 0.5, generator=generator) != 0 for _ in range(1000)])
    for ones, count in ((kept.sum(axis=0), 1000), (kept.sum(axis=1), 64)):
        deviate = (ones - count / 2) / np.sqrt(count / 4)
        assert abs(deviate).max() < LIMIT
        assert 0.7 < deviate.std() < 1.3


def test_all_orders_of_four_are_equally_likely():
    generator = Generator(4)
    orders = [tuple(generator.permutation(4).tolist()) for _ in range(24 * 300)]
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == len(orders)
    assert abs(chi_square(counts)) < LIMIT


def test_a_longer_order_puts_every_element_everywhere():
    generator = Generator(5)
    counts = np.zeros((12, 12))
    for _ in range(2400):
        counts[np.arange(12), generator.permutation(12)] += 1
    assert all(abs(chi_square(row)) < LIMIT for row in (*counts, *counts.T))


def test_a_draw_is_its_name():
    first, again = Generator(6).draw(1), Draw(seed=6, stream=1, call=0)
    assert first == again and raw_words(*first, 5).tolist() == raw_words(*again, 5).tolist()
