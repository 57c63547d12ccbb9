"""Matrix products have the same bits for any number of threads; BLAS threads are restored; errors come through."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from gpunet.backend import blas

openblas = pytest.mark.skipif(blas._openblas() is None, reason="NumPy does not use OpenBLAS here")


@pytest.fixture(autouse=True)
def default_threads():
    yield
    blas.set_threads(0)


def blas_threads():
    return blas._openblas().get()


SHAPES = [  # M, K, N
    (7, 5, 3),
    (1, 4001, 1203),
    (1203, 4001, 1),
    (64, 9216, 128),
    (64, 9216, 10),
    (251, 2051, 13),
    (129, 785, 513),
    (2309, 289, 65),
    (65, 129, 4099),
    (4100, 64, 31),
    (5, 0, 3),
    (0, 5, 3),
    (700, 1, 7000),
]
LAYOUTS = {
    "rows": lambda a: a,
    "columns": lambda a: np.asfortranarray(a),
    "slice of wider rows": lambda a: np.pad(a, ((0, 2), (3, 1)))[: a.shape[0], 3 : 3 + a.shape[1]],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_have_the_same_bits_for_any_number_of_threads(shape, dtype, rng):
    m, k, n = shape
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    expected, bound = a.astype("f8") @ b.astype("f8"), np.abs(a).astype("f8") @ np.abs(b).astype("f8")
    for left, right in [("rows", "rows"), ("rows", "columns"), ("columns", "rows"), ("slice of wider rows",) * 2]:
        results = []
        for count in (1, 2, 3):
            blas.set_threads(count)
            out = np.full((m, n), np.nan, dtype)
            blas.matmul(LAYOUTS[left](a), LAYOUTS[right](b), out)
            results.append(out)
        assert (np.abs(results[0] - expected) <= 8 * np.finfo(dtype).eps * bound).all(), (left, right)
        assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes(), (left, right)


@pytest.mark.parametrize("size", [63, 700])
def test_the_product_of_a_matrix_with_its_transpose_is_right(size, rng):
    a = rng.standard_normal((size, 301))
    out = np.empty((size, size))
    blas.matmul(a, a.T, out)
    np.testing.assert_allclose(out, np.einsum("ik,jk->ij", a, a), rtol=0, atol=1e-11)


def test_several_products_have_the_bits_of_one_after_the_other(rng):
    """Whatever the number of threads; one is cut by rows, one by columns, one along the sum, one not at all."""
    shapes = [(700, 300, 200), (128, 512, 640), (7, 4000, 160), (1, 128, 512)]
    factors = [(rng.standard_normal((m, k)), rng.standard_normal((k, n))) for m, k, n in shapes]
    expected = [np.empty((len(a), b.shape[1])) for a, b in factors]
    for (a, b), out in zip(factors, expected, strict=True):
        blas.matmul(a, b, out)
    for count in (1, 2, 3):
        blas.set_threads(count)
        outs = [np.full_like(out, np.nan) for out in expected]
        blas.matmuls(*((a, b, out) for (a, b), out in zip(factors, outs, strict=True)))
        assert [out.tobytes() for out in outs] == [out.tobytes() for out in expected]
    blas.matmuls()


@pytest.mark.parametrize("rows", [0, 1, 37, 512, 1300, 200_000])
def test_column_sums_do_not_lose_digits_as_rows_become_many(rows, rng):
    values = (rng.random((rows, 5)) + 1).astype(np.float32)
    expected = values.sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(blas.column_sums(values), expected, rtol=2e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 2), (2, 4)),
        ((5, 1, 6, 7), (3, 7, 2)),
        ((2, 0, 6, 7), (1, 7, 2)),
        ((3, 64, 50), (3, 50, 60)),
        ((1, 40, 64, 64), (2, 1, 64, 64)),
        ((2, 300, 200), (200, 100)),
    ],
)
def test_batches_have_the_same_bits_for_any_number_of_threads(a, b, rng):
    left, right = rng.standard_normal(a), rng.standard_normal(b)
    results = []
    for count in (1, 2, 3):
        blas.set_threads(count)
        results.append(np.full((left @ right).shape, np.nan))
        blas.batched_matmul(left, right, results[-1])
    np.testing.assert_allclose(results[0], left @ right, rtol=0, atol=1e-11)
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


def test_many_small_products_are_shared_by_threads(monkeypatch):
    shares = []
    monkeypatch.setattr(blas, "single", lambda a, b, out: shares.append(out.shape))
    blas.set_threads(1)
    blas.batched_matmul(np.ones((1, 40, 64, 64)), np.ones((64, 64)), np.empty((1, 40, 64, 64)))
    assert shares == [(1, 20, 64, 64)] * 2


def test_products_go_into_a_part_of_a_larger_array(rng):
    a, b = rng.standard_normal((2, 700, 200)), rng.standard_normal((200, 300))
    whole = np.zeros((700, 500))
    blas.matmul(a[1], b, whole[:, 100:400])
    np.testing.assert_allclose(whole[:, 100:400], a[1] @ b, rtol=0, atol=1e-11)
    assert not whole[:, :100].any() and not whole[:, 400:].any()


@pytest.mark.parametrize("tasks", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_parallel_runs_every_task_once(tasks, count):
    blas.set_threads(count)
    seen = []
    blas.parallel(tasks, seen.append)
    assert sorted(seen) == list(range(tasks))


def test_parallel_shares_tasks_between_threads_of_which_the_caller_is_one():
    blas.set_threads(2)
    both = threading.Barrier(2, timeout=20)
    names = set()

    def work(task):
        names.add(threading.current_thread())
        both.wait()

    blas.parallel(2, work)
    assert len(names) == 2 and threading.current_thread() in names


def test_every_thread_treats_overflow_and_nan_as_the_caller_does():
    blas.set_threads(2)
    both = threading.Barrier(2, timeout=20)
    seen = []

    def work(task):
        both.wait()
        seen.append(np.geterr())

    for setting in ("ignore", "raise"):
        with np.errstate(all=setting):
            blas.parallel(2, work)
            assert seen == [np.geterr()] * 2
        seen.clear()


def test_one_task_or_one_thread_stays_in_the_calling_thread():
    for count, tasks in [(1, 5), (4, 1)]:
        blas.set_threads(count)
        names = set()
        blas.parallel(tasks, lambda task, names=names: names.add(threading.current_thread()))
        assert names == {threading.current_thread()}


def test_a_nested_call_runs_in_the_thread_of_its_task():
    blas.set_threads(3)  # two run the outer tasks, so that one would be free to take inner ones
    blas.parallel(3, lambda task: time.sleep(0.001))
    wrong = []

    def outer(task):
        here = threading.current_thread()

        def inner(number):
            time.sleep(0.002)
            wrong.extend([number] * (threading.current_thread() is not here))

        blas.parallel(8, inner)

    blas.parallel(2, outer)
    assert not wrong


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_exception_comes_through_and_stops_further_tasks(count):
    blas.set_threads(count)
    done = []

    def work(task):
        if task == 3:
            raise KeyError("task 3")
        time.sleep(0.001)
        done.append(task)

    with pytest.raises(KeyError, match="task 3"):
        blas.parallel(1000, work)
    assert len(done) < 100
    before = len(done)
    time.sleep(0.01)
    assert len(done) == before, "all threads have stopped when the exception is raised"
    seen = []
    blas.parallel(10, seen.append)
    assert sorted(seen) == list(range(10))


def test_an_exception_in_a_helper_is_raised_in_the_caller():
    blas.set_threads(2)
    both = threading.Barrier(2, timeout=20)
    caller = threading.current_thread()

    def work(task):
        both.wait()
        if threading.current_thread() is not caller:
            raise OSError("in the helper")

    with pytest.raises(OSError, match="in the helper"):
        blas.parallel(2, work)


def test_callers_in_several_threads_do_not_disturb_each_other(rng):
    blas.set_threads(2)
    a, b = rng.standard_normal((600, 300)), rng.standard_normal((300, 200))
    expected = np.empty((600, 200))
    blas.matmul(a, b, expected)
    wrong = []

    def call():
        out = np.empty_like(expected)
        for _ in range(20):
            out.fill(0)
            blas.matmul(a, b, out)
            wrong.extend([1] * (out.tobytes() != expected.tobytes()))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_arrays_of_a_finished_call_are_not_kept_alive():
    import weakref

    blas.set_threads(2)
    array = np.zeros(10)
    gone = weakref.ref(array)
    both = threading.Barrier(2, timeout=20)

    def work(task, array=array):
        both.wait()

    blas.parallel(2, work)
    del work, array
    for _ in range(100):
        if gone() is None:
            break
        time.sleep(0.01)
    assert gone() is None


@openblas
def test_one_blas_thread_nests_and_restores_after_exceptions():
    library = blas._openblas()
    before = library.get()
    library.set(2)
    try:
        with blas.one_blas_thread():
            assert blas_threads() == 1
            with pytest.raises(ValueError), blas.one_blas_thread():
                raise ValueError
            assert blas_threads() == 1, "the inner context ends, the outer goes on"
        assert blas_threads() == 2
        blas.set_threads(2)
        inside = []
        blas.parallel(4, lambda task: inside.append(blas_threads()))
        assert inside == [1] * 4 and blas_threads() == 2
    finally:
        library.set(before)


@openblas
def test_one_blas_thread_lasts_until_the_last_of_several_threads_leaves():
    library = blas._openblas()
    before = library.get()
    library.set(2)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with blas.one_blas_thread():
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    try:
        with blas.one_blas_thread():
            holder.start()
            entered.wait(20)
        assert blas_threads() == 1
        leave.set()
        holder.join()
        assert blas_threads() == 2
    finally:
        leave.set()
        library.set(before)


@openblas
@pytest.mark.parametrize("shape", [(8, 144, 8), (1, 9216, 1), (1, 96, 96), (96, 96, 1), (16, 36, 16)])
def test_the_smallest_products_take_one_thread_of_their_own_accord(shape, rng, dtype=np.float32):
    m, k, n = shape
    assert 2 * m * k * n == blas._SINGLE_PRODUCT
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    library, results = blas._openblas(), []
    before = library.get()
    for threads in (1, 2, 8):
        library.set(threads)
        results.append(np.empty((m, n), dtype))
        blas.matmul(a, b, results[-1])
    library.set(before)
    assert all(np.array_equal(result, results[0]) for result in results)


@openblas
def test_describe_names_library_kernels_and_threads():
    blas.set_threads(3)
    facts = blas.describe()
    assert "OpenBLAS" in facts["library"] and os.path.exists(facts["path"])
    assert facts["kernels"] and facts["kernels"] != "unknown"
    assert facts["threads"] == "3"


def test_another_blas_is_left_alone(monkeypatch, rng):
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    assert blas.threads() == 1
    assert blas.describe()["kernels"] == "unknown"
    a, out = rng.standard_normal((300, 300)), np.empty((300, 300))
    blas.matmul(a, a, out)
    np.testing.assert_allclose(out, np.einsum("ik,kj->ij", a, a), rtol=0, atol=1e-10)


def test_set_threads_refuses_a_negative_number():
    with pytest.raises(ValueError, match="set_threads: expected a number >= 0, got -1"):
        blas.set_threads(-1)


@openblas
def test_the_environment_sets_the_number_of_threads(monkeypatch):
    monkeypatch.setenv("GPUNET_NUM_THREADS", "5")
    assert blas.threads() == 5
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("GPUNET_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=f"GPUNET_NUM_THREADS: expected a number >= 1, got '{wrong}'"):
            blas.threads()
    monkeypatch.delenv("GPUNET_NUM_THREADS")
    assert blas.threads() == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_starts_its_own_threads():
    code = """
import os
from gpunet.backend import blas
blas.set_threads(2)
blas.parallel(8, lambda task: None)
blas._helpers._lock.acquire()
blas._one_thread._lock.acquire()
child = os.fork()
if child == 0:
    seen = []
    blas.parallel(8, seen.append)
    os._exit(0 if sorted(seen) == list(range(8)) else 3)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
