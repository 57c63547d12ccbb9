"""The random bits are pinned: an independent Philox in Python integers is the oracle."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.backend import random
from gpunet.backend.random import (
    AUGMENT,
    DROPOUT,
    INIT,
    Generator,
    default_generator,
    from_memory_order,
    manual_seed,
    raw_words,
    to_floats,
)
from gpunet.errors import DTypeError, ShapeError

MASK = 2**64 - 1
WORDS = st.integers(0, MASK)


def philox(counter, key):
    """Philox 4x64 with ten rounds, straight from the paper."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (second >> 64) ^ c1 ^ k0, second & MASK, (first >> 64) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


def word(seed, stream, call, element):
    return philox((element // 4 + 1, call, 0, 0), (seed, stream))[element % 4]


def test_oracle_gives_the_known_answers_of_the_paper():
    assert philox((0, 0, 0, 0), (0, 0)) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert philox((MASK,) * 4, (MASK,) * 2) == [
        0x87B092C3013FE90B,
        0x438C3C67BE8D0224,
        0x9CC7D7C69CD777B6,
        0xA09CAEBF594F0BA0,
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=WORDS, stream=st.integers(0, 3), call=WORDS, count=st.integers(0, 11))
def test_words_equal_the_oracle(seed, stream, call, count):
    expected = [word(seed, stream, call, element) for element in range(count)]
    assert raw_words(seed, stream, call, count).tolist() == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=WORDS, first=st.integers(0, 40), count=st.integers(0, 40))
def test_words_do_not_depend_on_chunks(seed, first, count):
    whole = raw_words(seed, DROPOUT, 5, 80)
    assert (raw_words(seed, DROPOUT, 5, count, first) == whole[first : first + count]).all()


def test_words_do_not_depend_on_threads():
    expected = [raw_words(seed, INIT, 0, 500) for seed in range(8)]
    found = [[] for _ in range(8)]

    def draw(seed):
        found[seed] = [raw_words(seed, INIT, 0, 500) for _ in range(50)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((words == expected[seed]).all() for seed in range(8) for words in found[seed])


def test_words_leave_the_global_numpy_generator_alone():
    np.random.seed(3)
    expected = np.random.random_sample()
    np.random.seed(3)
    Generator(1).permutation(10)
    assert np.random.random_sample() == expected


def test_golden_values_never_change():
    generator = Generator(2026)
    assert [hex(value) for value in raw_words(2026, DROPOUT, 3, 2).tolist()] == [
        "0x4f9d2ca51ddd2b78",
        "0xf0dde04f95c555cb",
    ]
    assert generator.uniform(3).tolist() == [0.4220341444015503, 0.34249746799468994, 0.11181604862213135]
    assert generator.uniform(2, dtype=np.float64).tolist() == [0.9650232899592993, 0.9516494307511509]
    assert generator.permutation(8).tolist() == [1, 4, 3, 7, 0, 2, 5, 6]


@pytest.mark.parametrize(("dtype", "end"), [(np.float32, 1 - 2.0**-24), (np.float64, 1 - 2.0**-53)])
def test_floats_lie_in_the_half_open_interval(dtype, end):
    floats = to_floats(np.array([0, MASK], np.uint64), dtype)
    assert floats.dtype == dtype
    assert floats.tolist() == [0.0, end]


def test_floats_refuse_other_dtypes():
    with pytest.raises(DTypeError, match=r"expected float32 or float64, got float16"):
        to_floats(np.zeros(1, np.uint64), np.float16)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 1, 4, 2)])
def test_uniform_runs_in_channels_last_order(shape):
    values = Generator(1).uniform(shape)
    memory = np.moveaxis(values, 1, -1)
    assert memory.flags.c_contiguous
    assert (memory.ravel() == to_floats(raw_words(1, INIT, 0, values.size))).all()


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 4), (0, 3), (2, 0, 3, 3)])
def test_uniform_has_the_shape_asked_for(shape):
    values = Generator(1).uniform(shape)
    assert values.shape == shape
    if len(shape) < 4:
        assert (values.ravel() == to_floats(raw_words(1, INIT, 0, values.size))).all()


def test_memory_order_of_a_batch_keeps_each_example_together():
    batch = from_memory_order(np.arange(24), (2, 3, 2, 2))
    assert sorted(batch[1].ravel().tolist()) == list(range(12, 24))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform_never_returns_the_end_of_the_interval(monkeypatch, dtype):
    monkeypatch.setattr(random, "raw_words", lambda *args: np.full(args[3], MASK, np.uint64))
    values = Generator(0).uniform(2, 1.0, 2.0, dtype)
    assert (values < 2).all()
    assert Generator(0).uniform(1, 3.0, 3.0, dtype).item() == 3.0


def test_uniform_is_uniform():
    values = Generator(5).uniform(40_000, -1, 3, np.float64)
    counts, _ = np.histogram(values, bins=20, range=(-1, 3))
    assert ((counts - 2000) ** 2 / 2000).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001


def test_streams_do_not_influence_each_other():
    plain, busy = Generator(4), Generator(4)
    busy.permutation(10)
    busy.uniform(3, stream=AUGMENT)
    busy.draw(DROPOUT)
    assert (plain.uniform(9) == busy.uniform(9)).all()
    assert busy.calls == [1, 1, 1, 1]
    draws = [Generator(4).uniform(50, stream=stream) for stream in range(4)]
    assert len({draw.tobytes() for draw in draws}) == 4


def test_every_draw_is_new():
    generator = Generator(4)
    assert (generator.uniform(5) != generator.uniform(5)).any()
    assert (generator.permutation(50) != generator.permutation(50)).any()


def test_permutation_holds_every_index_once():
    order = Generator(6).permutation(1000)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(1000))
    assert Generator(6).permutation(0).size == 0


def test_state_survives_json():
    generator = Generator(MASK)
    generator.permutation(3)
    generator.uniform(2)
    other = Generator(0)
    other.set_state(json.loads(json.dumps(generator.get_state())))
    assert repr(other) == repr(generator)
    assert (other.permutation(20) == generator.permutation(20)).all()


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        ({"seed": 1}, ValueError, "expected the keys seed, init, shuffle, dropout, augment, got seed"),
        (dict.fromkeys(("seed", *random.STREAMS), -1), ValueError, "seed is out of range"),
        ({**Generator(0).get_state(), "init": 0.5}, TypeError, "init is not an integer"),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(state, error, text):
    generator = Generator(8)
    with pytest.raises(error, match=text):
        generator.set_state(state)
    assert generator.get_state() == Generator(8).get_state()


@pytest.mark.parametrize("seed", [0, MASK, np.int64(5), np.uint64(MASK)])
def test_seed_may_be_any_64_bit_word(seed):
    assert Generator(seed).seed == int(seed)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(
        ValueError, match=rf"seed is out of range.\n  expected an integer in \[0, 2\*\*64\), got {seed}"
    ):
        Generator(seed)


@pytest.mark.parametrize("seed", [1.0, "1", None, True, np.arange(2)])
def test_seed_of_another_type_is_refused(seed):
    with pytest.raises(TypeError, match="seed is not an integer"):
        Generator(seed)


def test_manual_seed_resets_the_default_generator():
    first = manual_seed(12).permutation(30)
    default_generator.uniform(2)
    assert manual_seed(12) is default_generator
    assert default_generator.calls == [0, 0, 0, 0]
    assert (default_generator.permutation(30) == first).all()


def test_refused_draws_do_not_move_the_counter():
    generator = Generator(0)
    with pytest.raises(ShapeError, match=r"expected integers >= 0 for every axis, got \(2, -1\)"):
        generator.uniform((2, -1))
    with pytest.raises(ShapeError, match=r"got 2\.5"):
        generator.permutation(2.5)
    with pytest.raises(ValueError, match="expected finite low <= high, got 1 and 0"):
        generator.uniform(2, 1, 0)
    with pytest.raises(ValueError, match="got 0 and inf"):
        generator.uniform(2, 0, float("inf"))
    with pytest.raises(DTypeError, match="got int64"):
        generator.uniform(2, dtype=np.int64)
    assert generator.calls == [0, 0, 0, 0]
