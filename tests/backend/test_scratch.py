"""Scratch memory: one buffer per name and thread, never more than its limit kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpunet.backend import scratch


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(scratch, "_buffers", scratch._Buffers())


def test_one_name_is_one_memory_and_two_names_are_two():
    first = scratch.get("a", (5, 7), np.float64)
    assert first.shape == (5, 7) and first.dtype == np.float64 and first.flags.c_contiguous
    assert np.shares_memory(first, scratch.get("a", (3,), np.float32))
    assert not np.shares_memory(first, scratch.get("b", (5, 7), np.float64))


def test_a_larger_request_takes_new_memory_which_then_stays():
    small = scratch.get("a", (4,), np.uint8)
    large = scratch.get("a", (4000,), np.uint8)
    assert not np.shares_memory(small, large)
    assert np.shares_memory(large, scratch.get("a", (4,), np.uint8))


def test_what_a_thread_keeps_is_bounded(monkeypatch):
    monkeypatch.setattr(scratch, "_MOST_BYTES", 1000)
    large = scratch.get("a", (1001,), np.uint8)
    assert large.shape == (1001,) and not np.shares_memory(large, scratch.get("a", (1001,), np.uint8))
    scratch.get("a", (10,), np.uint8)
    assert sum(buffer.nbytes for buffer in scratch._buffers.by_name.values()) <= 1000


def test_threads_have_their_own():
    mine, others = scratch.get("a", (100,), np.uint8), []
    thread = threading.Thread(target=lambda: others.append(scratch.get("a", (100,), np.uint8)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, others[0])
