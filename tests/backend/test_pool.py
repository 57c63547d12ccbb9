"""Buffers come back when the last view dies, never before, and idle memory is bounded."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.backend import pool
from gpunet.errors import OutOfMemoryError

MIB = 1 << 20
LARGE = (3, 7, 65, 129)  # 704 340 bytes of float32


@pytest.fixture
def buffers():
    return pool.Pool(8 * MIB)


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64", "float16", "complex64", "bool"])
def test_large_arrays_are_aligned_contiguous_and_writeable(buffers, dtype):
    array = buffers.allocate(LARGE, dtype)
    assert array.shape == LARGE and array.dtype == dtype
    assert array.flags.c_contiguous and array.flags.writeable and array.flags.aligned
    assert address(array) % 64 == 0
    array.fill(1)
    assert (array == 1).all()


@pytest.mark.parametrize("shape", [(), (0, 5), (3,), (1000, 0, 1000)])
def test_small_arrays_do_not_come_from_the_pool(buffers, shape):
    array = buffers.allocate(shape, "float32")
    assert array.shape == shape and array.flags.owndata
    del array
    assert buffers.idle_bytes() == 0


def test_arrays_of_objects_never_come_from_the_pool(buffers):
    assert buffers.allocate((100_000,), object)[0] is None
    assert buffers.idle_bytes() == 0


def test_memory_of_a_dead_array_is_reused(buffers):
    array = buffers.allocate(LARGE, "float32")
    before = address(array)
    del array
    assert buffers.idle_bytes() >= np.prod(LARGE) * 4
    again = buffers.allocate(LARGE[::-1], "float32")
    assert address(again) == before
    assert buffers.idle_bytes() == 0


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[1:2],
        lambda a: a.reshape(-1)[5::7],
        lambda a: a.transpose(3, 1, 0, 2)[::-1],
        lambda a: a.view(np.uint8)[0, 0, 0],
        lambda a: np.lib.stride_tricks.as_strided(a, (4, 4), (4, 8)),
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a, np.uint8),
        lambda a: np.asarray(a.view(type("Sub", (np.ndarray,), {})))[0],
        lambda a: iter(a),
        lambda a: a.flat,
        lambda a: np.broadcast_to(a[0], (5, *a.shape[1:])),
    ],
)
def test_any_view_keeps_the_memory(buffers, view):
    array = buffers.allocate(LARGE, "float32")
    kept = view(array)
    del array
    gc.collect()
    assert buffers.idle_bytes() == 0, "the buffer went back under a living view"
    del kept
    assert buffers.idle_bytes() > 0, "the buffer never came back"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kept_views_never_change(data):
    """Keep random views, drop others, allocate again and overwrite: what is kept stays as it was."""
    buffers = pool.Pool(2 * MIB)
    kept = []
    for step in range(data.draw(st.integers(1, 30))):
        rows = data.draw(st.sampled_from([40, 129, 130, 257]))
        array = buffers.allocate((rows, 1031), "float32")
        array.fill(step)
        start = data.draw(st.integers(0, rows - 1))
        what = data.draw(st.sampled_from(["drop", "row", "column", "all", "view of a view"]))
        if what == "row":
            kept.append((array[start], step))
        elif what == "column":
            kept.append((array[:, 17], step))
        elif what == "view of a view":
            kept.append((array[start:].reshape(-1)[1:][::5], step))
        elif what == "all":
            kept.append((array, step))
        del array
        if kept and data.draw(st.booleans()):
            kept.pop(data.draw(st.integers(0, len(kept) - 1)))
        for view, value in kept:
            assert (view == value).all()
        assert buffers.idle_bytes() <= buffers.limit


def test_idle_memory_is_bounded_and_the_stalest_size_goes_first():
    buffers = pool.Pool(3 * MIB)
    stale = buffers.allocate((MIB,), "uint8")
    recent = [buffers.allocate((MIB // 2,), "uint8") for _ in range(6)]
    addresses = [address(array) for array in recent]
    del stale
    recent.clear()
    assert 2 * MIB < buffers.idle_bytes() <= 3 * MIB
    again = [buffers.allocate((MIB // 2,), "uint8") for _ in range(5)]
    assert {address(array) for array in again} <= set(addresses)
    assert buffers.idle_bytes() == 0


def test_a_pool_of_size_0_keeps_nothing():
    buffers = pool.Pool(0)
    array = buffers.allocate(LARGE, "float32")
    del array
    assert buffers.idle_bytes() == 0


def test_clear_frees_idle_buffers_and_leaves_arrays_in_use(buffers):
    used = buffers.allocate(LARGE, "float32")
    used.fill(7)
    idle = buffers.allocate(LARGE, "float32")
    del idle
    buffers.clear()
    assert buffers.idle_bytes() == 0
    assert (used == 7).all()
    del used
    assert buffers.idle_bytes() > 0


def test_similar_sizes_share_a_buffer_and_waste_at_most_an_eighth():
    for nbytes in [*range(65_536, 140_000, 517), 20_000_000, 123_456_789]:
        rounded = pool._rounded(nbytes)
        assert nbytes <= rounded <= nbytes * 9 / 8
        assert pool._rounded(rounded) == rounded


def test_impossible_sizes_are_errors_that_name_the_shape(buffers):
    idle = buffers.allocate(LARGE, "float32")
    del idle
    with pytest.raises(OutOfMemoryError, match=r"allocate: no memory for an array of \d+ bytes\.\n.*\(1048576, ") as e:
        buffers.allocate((MIB, MIB, 1000), "float32")
    assert "hint: " in str(e.value)
    assert buffers.idle_bytes() == 0, "idle buffers are freed before giving up"
    with pytest.raises(ValueError, match="negative"):
        buffers.allocate((-1000, -1000), "float32")


def test_a_finalizer_in_the_middle_of_an_allocation_does_not_deadlock(buffers):
    array = buffers.allocate(LARGE, "float32")
    with buffers._lock:  # where the garbage collector may run
        del array
        fresh = buffers.allocate(LARGE, "float32")  # a finalizer that allocates itself
    fresh.fill(1)
    assert buffers.idle_bytes() > 0, "what was left behind under the lock is sorted in later"


def test_cycles_give_their_memory_back_when_they_are_collected(buffers):
    loop = [buffers.allocate(LARGE, "float32")]
    loop.append(loop)
    del loop
    gc.collect()
    assert buffers.idle_bytes() > 0


def test_threads_never_share_a_buffer(buffers):
    wrong = []

    def work(number):
        kept = []
        for step in range(150):
            array = buffers.allocate((number % 2 + 1, 70_001), "uint8")
            array.fill(number)
            kept.append(array[:, 1:])
            del array
            if step % 3 == 0:
                kept = kept[-4:]
            wrong.extend(number for view in kept if not (view == number).all())

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert buffers.idle_bytes() == sum(raw.nbytes for idle in buffers._idle.values() for raw in idle)


def test_the_limit_comes_from_the_environment():
    code = "from gpunet.backend import pool; a = pool.allocate((9 << 20,), 'u1'); del a; print(pool.idle_bytes() >> 20)"

    def run(mib):
        environment = {**os.environ, "GPUNET_POOL_MIB": mib}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert run("64").stdout == "9\n"
    assert run("8").stdout == "0\n"
    assert "GPUNET_POOL_MIB: expected a number of MiB such as 512, or 0 for no pool, got 'lots'" in run("lots").stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_finds_the_lock_free():
    code = """
import os
from gpunet.backend import pool
array = pool.allocate((1 << 20,), "u1")
lock = pool._pool()._lock
lock.acquire()
child = os.fork()
if child == 0:
    del array
    os._exit(0 if pool.idle_bytes() > 0 else 3)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
