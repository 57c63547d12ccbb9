"""Matrix products on the CPU: BLAS at one thread, blocks shared by our own threads.

OpenBLAS gives other bits at one and at two threads. Here the work is cut into blocks whose size depends on
the shape only, and each block is one single-threaded BLAS call, so results do not depend on how many threads
there are. `np.matmul` stands nowhere else.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend.openblas import find as _openblas

__all__ = [
    "batched_matmul",
    "column_sums",
    "describe",
    "matmul",
    "matmuls",
    "one_blas_thread",
    "parallel",
    "set_threads",
    "single",
    "threads",
]

_SINGLE_PRODUCT = 18_432  # floating-point operations up to which OpenBLAS takes one thread, whatever it was told
_SMALLEST_PRODUCT = 20_000_000  # floating-point operations below which a second thread does not pay
_BLOCK_PRODUCT = 16_000_000  # what a block should have before there are more than two
_MOST_BLOCKS = 32
_ROWS_SUMMED = 512  # by one product in the dtype of the rows
# BLAS repacks the shared operand for each block: 5 % of the time at 512 rows or columns, 12 % at 256, 27 % at 128.
_BLOCK_SIDE = 512
_NARROW = 256  # where both sides are shorter and K is long, cutting K costs 1 %, cutting rows 12 %
_LONG = 2048


def describe() -> dict[str, str]:
    """Say which BLAS runs, with which kernels, and on how many of our threads."""
    blas = _openblas()
    if blas is None:
        return {"library": "not OpenBLAS; it runs with its own threads", "kernels": "unknown", "threads": "1"}
    return {"library": blas.config, "path": blas.path, "kernels": blas.core, "threads": str(threads())}


class _OneThread:
    """Counts the users of single-threaded BLAS; the first sets it, the last restores what was."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 1

    def __enter__(self) -> None:
        blas = _openblas()
        with self._lock:
            if blas is not None and self._users == 0:
                self._before = blas.get()
                blas.set(1)
            self._users += 1

    def __exit__(self, *error: object) -> None:
        blas = _openblas()
        with self._lock:
            self._users -= 1
            if blas is not None and self._users == 0:
                blas.set(self._before)


_one_thread = _OneThread()


def one_blas_thread() -> contextlib.AbstractContextManager[None]:
    """Return a context in which BLAS uses one thread; nesting and several Python threads are fine."""
    return _one_thread


def _available() -> int:
    text = os.environ.get("GPUNET_NUM_THREADS", "")
    if text:
        if not text.isdecimal() or int(text) == 0:
            raise ValueError(f"GPUNET_NUM_THREADS: expected a number >= 1, got {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _State(threading.local):
    inside = False


_state = _State()
_count = 0


def threads() -> int:
    """Return how many threads work on a block list: GPUNET_NUM_THREADS, else the CPUs of this process.

    One where BLAS cannot be told to use one thread: its own threads do the work then.
    """
    if _count:
        return _count
    return _available() if _openblas() is not None else 1


def set_threads(count: int) -> None:
    """Set how many threads work; 0 goes back to the default. Results do not depend on it."""
    global _count
    if count < 0:
        raise ValueError(f"set_threads: expected a number >= 0, got {count}")
    _count = count


class _Helpers:
    """Threads that wait for work. A queue of calls costs 60 us less per use than an executor with its futures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def _run(self) -> None:
        while True:
            self._calls.get()()  # no name for the call: it would keep its arrays alive until the next one

    def submit(self, call: Callable[[], object], times: int) -> None:
        """Let `times` threads run a call that raises nothing."""
        with self._lock:
            while self._count < times:
                threading.Thread(target=self._run, name=f"gpunet-{self._count}", daemon=True).start()
                self._count += 1
        for _ in range(times):
            self._calls.put(call)


_helpers = _Helpers()


def _after_fork() -> None:
    """Threads do not survive a fork: a child starts without them, and without locks that they held."""
    global _helpers, _one_thread
    _helpers, _one_thread = _Helpers(), _OneThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def parallel(tasks: int, work: Callable[[int], object], operations: int = _SMALLEST_PRODUCT) -> None:
    """Run work(0) ... work(tasks - 1), shared by `threads()` threads of which the caller is one.

    Where products of fewer than 20 million `operations` are all there is to do, the caller does it alone.

    BLAS has one thread meanwhile, and NumPy treats overflow and NaN in all threads as it does in the caller's. A call
    from within a task runs in that task's thread. After an exception no task is started any more; the first one is
    raised when all threads have stopped.
    """
    helpers = min(threads(), tasks) - 1 if operations >= _SMALLEST_PRODUCT else 0
    with one_blas_thread():
        if helpers < 1 or _state.inside:
            for task in range(tasks):
                work(task)
            return
        numbers = iter(range(tasks))  # next() is one step under the GIL
        tickets = [threading.Lock() for _ in range(helpers)]
        free, errors, on_error = iter(tickets), [], np.geterr()

        def drain() -> None:
            _state.inside = True
            try:
                for task in numbers:
                    work(task)
            except BaseException as error:
                errors.append(error)
                for _ in numbers:  # nobody starts another task
                    pass
            finally:
                _state.inside = False

        def help_out() -> None:
            ticket = next(free)
            if ticket.acquire(blocking=False):
                with np.errstate(**on_error):
                    drain()
                ticket.release()

        _helpers.submit(help_out, helpers)
        drain()
        for ticket in tickets:
            ticket.acquire()  # waits for a helper at work; one that has not woken up finds its ticket taken
    if errors:
        raise errors[0]


def _pieces(size: int, count: int) -> Iterator[slice]:
    """Cut a range into at most `count` pieces, all but the last of equal size."""
    step = -(-size // count)
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


Matrix = npt.NDArray[Any]
Product = tuple[Matrix, Matrix, Matrix]  # a, b, out


def matmul(a: Matrix, b: Matrix, out: Matrix) -> None:
    """out = a @ b for matrices; the same bits whatever the number of threads.

    Args:
        a: (M, K), rows or columns adjacent in memory.
        b: (K, N), dtype of a, likewise.
        out: (M, N), dtype of a, rows adjacent in memory; no overlap with a or b.
    """
    matmuls((a, b, out))


def matmuls(*products: Product) -> None:
    """out = a @ b for each product (a, b, out): as `matmul`, but threads start once and share the blocks of all."""
    work = sum(_operations(a, b) for a, b, _ in products)
    if work < _SMALLEST_PRODUCT:
        with contextlib.nullcontext() if work <= _SINGLE_PRODUCT else one_blas_thread():
            for product in products:
                single(*product)
        return
    blocks: list[Product] = []
    sums: list[tuple[Matrix, Matrix]] = []
    for a, b, out in products:
        pieces, partial = _cut(a, b, out)
        blocks += pieces
        if partial is not None:
            sums.append((partial, out))
    parallel(len(blocks), lambda i: single(*blocks[i]))
    for partial, out in sums:
        np.add.reduce(partial, axis=0, out=out)


def _operations(a: Matrix, b: Matrix) -> int:
    return 2 * a.shape[0] * a.shape[1] * b.shape[1]


def _cut(a: Matrix, b: Matrix, out: Matrix) -> tuple[list[Product], Matrix | None]:
    """Cut a product into blocks, by shape only; where K is cut, return what they make too, whose sum is `out`."""
    (m, k), n = a.shape, b.shape[1]
    product = _operations(a, b)
    if product < _SMALLEST_PRODUCT:
        return [(a, b, out)], None
    count = 2 if product < 4 * _BLOCK_PRODUCT else 4
    if max(m, n) < _NARROW and k >= _LONG:
        pieces = list(_pieces(k, count))
        partial = np.empty((len(pieces), m, n), out.dtype)
        return [(a[:, p], b[p], partial[i]) for i, p in enumerate(pieces)], partial
    if max(m, n) < _BLOCK_SIDE:
        count = 2
    pieces = list(_pieces(max(m, n), min(count * max(1, max(m, n) // (4 * _BLOCK_SIDE)), _MOST_BLOCKS)))
    if m >= n:
        return [(a[p], b, out[p]) for p in pieces], None
    return [(a, b[:, p], out[:, p]) for p in pieces], None


def batched_matmul(a: Matrix, b: Matrix, out: Matrix) -> None:
    """out[i] = a[i] @ b[i] for each matrix of a batch; the same bits whatever the number of threads.

    Args:
        a, b, out: as for `matmul`, behind batch axes; those of a and b broadcast to those of out.
    """
    *batch, m, n = out.shape
    a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    product = 2 * m * n * a.shape[-1]
    if not batch or product >= _SMALLEST_PRODUCT:
        for index in np.ndindex(*batch):
            matmul(a[index], b[index], out[index])
        return
    axis = batch.index(max(batch))  # threads share its matrices
    count = min(1 + product * math.prod(batch) // _SMALLEST_PRODUCT, _MOST_BLOCKS)
    pieces = [(*[slice(None)] * axis, piece) for piece in _pieces(batch[axis], count)] if out.size else []
    parallel(len(pieces), lambda i: single(a[pieces[i]], b[pieces[i]], out[pieces[i]]))


def column_sums(rows: Matrix) -> Matrix:
    """Return the sum of each column, in float64: of blocks, by products with ones, which beat `sum` several times.

    Args:
        rows: (M, N), rows adjacent in memory.
    """
    ones = np.ones((1, _ROWS_SUMMED), rows.dtype)
    if len(rows) <= _ROWS_SUMMED:
        sums = np.empty((1, rows.shape[1]), rows.dtype)
        matmul(ones[:, : len(rows)], rows, sums)
        return sums[0].astype(np.float64)
    count, columns = len(rows) // _ROWS_SUMMED, rows.shape[1]
    whole = count * _ROWS_SUMMED
    sums = np.empty((count + 1, 1, columns), rows.dtype)
    with one_blas_thread():
        single(ones, rows[:whole].reshape(count, _ROWS_SUMMED, columns), sums[:count])
        single(ones[:, : len(rows) - whole], rows[whole:], sums[count])
    return np.add.reduce(sums, axis=(0, 1), dtype=np.float64)


def single(a: Matrix, b: Matrix, out: Matrix) -> None:
    """out = a @ b within a task of `parallel`: one BLAS call."""
    np.matmul(a, b, out=out)
