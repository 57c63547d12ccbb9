"""Matrix products: right for any shape and operand order, with the same bits for any number of threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpunet.backend import blas

SHAPES = [(1, 1, 1), (3, 5, 7), (0, 4, 3), (64, 9216, 128), (700, 33, 129), (130, 64, 5000), (513, 257, 255)]


@pytest.fixture(autouse=True)
def default_threads():
    yield
    blas.set_threads(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES, ids=str)
def test_products_are_right_and_have_the_same_bits_for_any_threads(m, k, n, transposed, dtype, rng):
    a = rng.standard_normal((k, m)).astype(dtype).T if "a" in transposed else rng.standard_normal((m, k)).astype(dtype)
    b = rng.standard_normal((n, k)).astype(dtype).T if "b" in transposed else rng.standard_normal((k, n)).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        blas.set_threads(threads)
        out = np.full((m, n), np.nan, dtype)
        blas.matmul(a, b, out)
        results.append(out.tobytes())
    np.testing.assert_allclose(out, np.asarray(a, np.float64) @ np.asarray(b, np.float64), atol=2e-3, rtol=1e-4)
    assert results[0] == results[1] == results[2]


def test_every_task_runs_once_and_shares_the_threads():
    blas.set_threads(3)
    done, names, barrier = [], set(), threading.Barrier(3, timeout=10)

    def work(task):
        if task < 3:
            barrier.wait()  # passes only if three threads work at once
        names.add(threading.current_thread().name)
        done.append(task)

    blas.parallel(20, work)
    assert sorted(done) == list(range(20)) and len(names) == 3


def test_an_exception_reaches_the_caller_and_the_threads_stay_usable():
    blas.set_threads(2)

    def work(task):
        if task == 5:
            raise KeyError("five")

    with pytest.raises(KeyError, match="five"):
        blas.parallel(10, work)
    blas.parallel(10, lambda task: None)


def test_nested_calls_run_inline():
    blas.set_threads(2)
    inner = []
    blas.parallel(4, lambda i: blas.parallel(3, lambda j: inner.append((i, j))))
    assert sorted(inner) == [(i, j) for i in range(4) for j in range(3)]


def test_blas_gets_its_threads_back_also_after_an_exception():
    library = blas._openblas()
    if library is None:
        assert blas.threads() == 1 and "not OpenBLAS" in blas.describe()["library"]
        return
    before = library.get()
    with pytest.raises(KeyError), blas.one_blas_thread(), blas.one_blas_thread():
        assert library.get() == 1
        raise KeyError
    assert library.get() == before
    assert blas.describe()["kernels"] == library.core


def test_the_number_of_threads_can_be_set(monkeypatch):
    with pytest.raises(ValueError, match="expected a number >= 0, got -1"):
        blas.set_threads(-1)
    monkeypatch.setenv("GPUNET_NUM_THREADS", "5")
    assert blas.threads() in (5, 1)
