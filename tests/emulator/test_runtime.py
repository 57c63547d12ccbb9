"""Good kernels give the right result in every mode and order."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from gpunet import emulator
from tests.emulator.conftest import HERE, launch, module, ramp


def test_tiled_matmul(mode, schedule):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((35, 23)).astype("f4"), rng.standard_normal((23, 18)).astype("f4")
    c = np.full((35, 18), np.nan, np.float32)
    launch("good.cu", mode, "matmul", c, a, b, 35, 18, 23, grid=(2, 3), block=(16, 16))
    np.testing.assert_allclose(c, a @ b, atol=1e-5)


def test_warp_softmax_with_warps_that_return_early(mode, schedule):
    x = np.random.default_rng(1).standard_normal((7, 45)).astype("f4")
    y = np.full_like(x, np.nan)
    launch("good.cu", mode, "softmax", y, x, 7, 45, grid=(2,), block=(128,))
    expected = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_collectives(mode, schedule):
    out = np.zeros((96, 16), np.int32)
    launch("good.cu", mode, "collectives", out, block=(96,))
    t = np.arange(96)
    lane = t % 32
    expected = [
        np.where(lane + 3 < 32, t + 3, t),
        np.where(t % 16 >= 5, t - 5, t),
        t - t % 8 + 1,
        t ^ 1,
        np.full(96, np.uint32(sum(1 << i for i in range(0, 32, 3)))).astype(np.int32),
        np.full(96, 2),
        np.full(96, 2),
        np.full(96, 496),
        np.full(96, -9),
        np.full(96, 31),
        np.full(96, 48),
        np.full(96, 2),
        np.full(96, 2),
        np.where(lane < 16, t ^ 2, -1),
        3 * (t - lane + 4),
        np.full(96, 32),
    ]
    for column, values in enumerate(expected):
        np.testing.assert_array_equal(out[:, column], values, err_msg=str(column))


@pytest.mark.parametrize("distance", [33, -31, 2**31 - 31])
def test_shuffles_by_more_than_a_warp_take_five_bits_of_the_distance(mode, distance):
    y = np.zeros((3, 32), np.int32)
    launch("good.cu", mode, "far_shuffles", y, distance)
    t = np.arange(32)
    np.testing.assert_array_equal(y, [np.maximum(t - 1, 0), np.minimum(t + 1, 31), t ^ 1])


@pytest.mark.parametrize("workers", [1, 3])
def test_atomics(mode, schedule, workers):
    blocks = 3 if mode == "race" else 20  # enough threads to wake helpers in fast mode
    size = blocks * 256
    bins, largest = np.zeros(9, np.int32), np.zeros(1, np.uint32)
    bins[8] = 5
    total, tickets = np.zeros(1, np.uint64), np.zeros(size, np.int32)
    with emulator.configure(workers=workers):
        launch("good.cu", mode, "atomics", bins, largest, total, tickets, grid=(blocks,), block=(256,))
    np.testing.assert_array_equal(bins[:7], np.bincount(np.arange(size) % 7))
    assert bins[7] == size and bins[8] == 3 and largest[0] == size - 1
    assert total[0] == sum(range(size)) << 20
    np.testing.assert_array_equal(np.sort(tickets), np.arange(size))


def test_dynamic_shared_memory(mode, schedule):
    x, shift = ramp(150), np.array([3], np.int32)
    y = np.zeros(150, np.float32)
    launch("good.cu", mode, "reverse", y, x, shift, grid=(3,), block=(50,), shared_mem=400)
    np.testing.assert_array_equal(y.reshape(3, 50), np.roll(x.reshape(3, 50)[:, ::-1], -3, 1))


def test_last_block_may_read_what_others_fenced(mode, schedule):
    total, partial, x = np.zeros(1, np.float32), np.zeros(6, np.float32), ramp(96)
    launch("good.cu", mode, "last_block_sums", total, partial, x, grid=(6,), block=(16,))
    assert total[0] == x.sum()


def test_indices_in_three_dimensions(mode, schedule):
    out = np.zeros((24, 30), np.int32)
    launch("good.cu", mode, "place", out, grid=(2, 3, 4), block=(5, 3, 2))
    np.testing.assert_array_equal(out, np.arange(24)[:, None] * 1000 + np.arange(30))


def test_intrinsics(mode):
    f, u, d = np.zeros(8, np.float32), np.zeros(5, np.uint32), np.zeros(2)
    v = np.array([5, 6, 7, 8], np.float32)
    module("good.cu", mode).get_global("coefficients", np.float32, 4)[:] = [0, 0, 9, 0]
    launch("good.cu", mode, "intrinsics", f, u, d, v, 1.5, 12, block=(1,))
    x = np.float32(1.5)
    np.testing.assert_allclose(f, [x**-0.5, np.exp(x) + np.log(x), x * x + 1, -x, 11, 3.5, 9, x], rtol=1e-6)
    assert u.tolist() == [(12 * 0x90000000) >> 32, 2 * 10000 + 28 * 100 + 3, 208, 2**31 + 3, 5 + 800 + 160000]
    assert d.tolist() == [1.5, 0.5]


def test_any_number_of_workers_gives_the_same_bits(schedule):
    a = np.random.default_rng(2).standard_normal((128, 128)).astype("f4")
    results = []
    for workers in (1, 2, 5):
        c = np.zeros_like(a)
        with emulator.configure(workers=workers):
            launch("good.cu", "fast", "matmul", c, a, a, 128, 128, 128, grid=(8, 8), block=(16, 16))
        results.append(c.tobytes())
    assert len(set(results)) == 1


def test_kernels_launched_from_several_python_threads():
    errors = []

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((64, 64)).astype("f4")
        for _ in range(10):
            c = np.zeros_like(x)
            launch("good.cu", "fast", "matmul", c, x, x, 64, 64, 64, grid=(4, 4), block=(16, 16))
            if not np.allclose(c, x @ x, atol=1e-3):
                errors.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_forked_child_starts_helpers_of_its_own():
    script = """if True:
        import os
        import numpy as np
        from gpunet import emulator
        from tests.emulator.conftest import launch
        def go():
            a = np.ones((128, 128), np.float32)
            c = np.zeros_like(a)
            with emulator.configure(workers=2):
                launch("good.cu", "fast", "matmul", c, a, a, 128, 128, 128, grid=(8, 8), block=(16, 16))
            assert (c == 128).all()
        go()
        child = os.fork()
        go()
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            os._exit(0 if len(os.listdir("/proc/self/task")) == 2 else 1)
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", script]
    result = subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr.decode()
