"""Every planted fault is found by the mode that is there to find it, and its correct twin is not accused."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from gpunet import emulator
from gpunet.errors import KernelError
from tests.emulator.conftest import HERE, SCHEDULES, launch, ramp

DEADLOCK = (
    r"deadlock in block \(0,0,0\): 32 of 64 live threads wait at __syncthreads \(e.g. thread 0\), "
    r"warp 0 waits at a warp collective with mask 0xffffffff, where only lanes 0xaaaaaaaa have arrived"
)
ONE_BLOCK = r"shared memory {}::s, byte offset \d+: .* of block \(0,0,0\) at planted\.cu:\d+, after .*no barrier"


def zeros(size: int) -> np.ndarray:
    return np.zeros(size, np.float32)


# Kernel, its arguments, launch: shared by the tables below.
RUNS = {
    "missing_barrier": (lambda: (ramp(256),), {"block": (256,)}),
    "missing_barrier_ok": (lambda: (ramp(256),), {"block": (256,)}),
    "forward_only": (lambda: (zeros(256), ramp(256)), {"block": (256,)}),
    "second_barrier": (lambda: (zeros(64), ramp(256), 4), {"block": (64,)}),
    "missing_syncwarp": (lambda: (zeros(32), ramp(32)), {}),
    "write_after_reads": (lambda: (zeros(32), ramp(32)), {}),
    "write_after_reads_ok": (lambda: (zeros(32), ramp(32)), {}),
    "half_syncs_then_other_reads": (lambda: (zeros(32),), {}),
    "half_syncs_then_other_writes": (lambda: (zeros(32),), {}),
    "both_halves_write": (lambda: (zeros(32),), {}),
    "both_halves_write_ok": (lambda: (zeros(32),), {}),
    "chain_of_pairs": (lambda: (zeros(32),), {}),
    "chain_of_pairs_ok": (lambda: (zeros(32),), {}),
    "chain_is_overtaken": (lambda: (zeros(32),), {}),
    "readers_one_by_one_ok": (lambda: (zeros(32),), {}),
    "reads_before_a_barrier_ok": (lambda: (zeros(32),), {}),
    "returned_lanes_write": (lambda: (zeros(32),), {}),
    "returned_lanes_write_ok": (lambda: (zeros(32),), {}),
    "counter_is_set": (lambda: (np.zeros(1, np.int32),), {}),
    "counter_is_read": (lambda: (np.zeros(1, np.int32), np.zeros(1, np.int32)), {}),
    "counter_is_read_by_half": (lambda: (np.zeros(1, np.int32), np.zeros(16, np.int32)), {}),
    "set_then_copied": (lambda: (zeros(64),), {}),
    "set_then_copied_ok": (lambda: (zeros(64),), {}),
    "moved_by_all": (lambda: (zeros(64),), {}),
    "counter_is_loaded": (lambda: (np.zeros(1, np.int32), np.zeros(1, np.int32)), {}),
    "counter_ok": (lambda: (np.zeros(1, np.int32), np.zeros(64, np.int32)), {"block": (64,)}),
    "dynamic_race": (lambda: (ramp(64),), {"block": (64,), "shared_mem": 256}),
    "blocks_write": (lambda: (zeros(32),), {"grid": (4,)}),
    "plain_increment": (lambda: (zeros(1),), {}),
    "blocks_read": (lambda: (zeros(8),), {"grid": (4,), "block": (1,)}),
    "missing_fence": (lambda: (zeros(1), zeros(4)), {"grid": (4,), "block": (1,)}),
    "early_return": (lambda: (zeros(64),), {"block": (64,)}),
    "barrier_and_shuffle": (lambda: (zeros(64),), {"block": (64,)}),
    "different_collectives": (lambda: (zeros(64),), {"block": (64,)}),
    "foreign_mask": (lambda: (zeros(64),), {"block": (64,)}),
    "traps": (lambda: (ramp(64),), {"block": (64,)}),
    "past_global": (lambda: (zeros(1000), 1000), {"grid": (16,), "block": (64,)}),
    "past_static": (lambda: (zeros(32),), {}),
    "past_dynamic": (lambda: (zeros(32),), {"shared_mem": 128}),
    "overflow": (lambda: (np.zeros(1, np.int32),), {}),
    "misaligned": (lambda: (zeros(16),), {}),
}

# Kernel, mode, what the KernelError says.
FOUND = [
    ("missing_barrier", "race", ONE_BLOCK.format("missing_barrier")),
    ("forward_only", "race", ONE_BLOCK.format("forward_only")),
    ("second_barrier", "race", ONE_BLOCK.format("second_barrier")),
    ("missing_syncwarp", "race", ONE_BLOCK.format("missing_syncwarp")),
    ("both_halves_write", "race", ONE_BLOCK.format("both_halves_write")),
    ("write_after_reads", "race", r"write by thread 31 .*after reads, the last by thread 31"),
    ("dynamic_race", "race", r"race in dynamic shared memory, byte offset 128: write by thread 32"),
    ("blocks_write", "race", r"argument 0 \(y\), byte offset 0: write .* block \(1,0,0\).* block \(0,0,0\)"),
    ("plain_increment", "race", r"argument 0 \(y\), byte offset 0: read by thread 1"),
    ("blocks_read", "race", r"argument 0 \(y\), byte offset 0: write .*block \(3,0,0\).*after reads"),
    ("missing_fence", "race", r"argument 1 \(partial\), byte offset 0: read .*block \(3,0,0\).*a write"),
    ("counter_is_loaded", "race", r"atomic by .* at planted\.cu:\d+, after a read by .* at planted\.cu:\d+"),
    ("early_return", "race", r"divergent barrier in block \(0,0,0\): 48 of 64 threads .*thread 48 in warp 1"),
    ("barrier_and_shuffle", "fast", DEADLOCK),
    ("barrier_and_shuffle", "race", DEADLOCK),
    ("different_collectives", "fast", r"lanes of warp 0 in block \(0,0,0\) wait at different warp collectives"),
    ("foreign_mask", "fast", r"thread 16 \(warp 0, lane 16\).*mask 0x0000ffff, which lacks its own lane"),
    ("traps", "fast", r"__trap\(\) by thread 5 \(warp 0\) in block \(0,0,0\)"),
]
# Kernel with a race that every order of threads shows, what the KernelError says.
EVERY_ORDER = [
    ("missing_syncwarp", "(read|write) by"),
    ("write_after_reads", "write by thread 31 .*after reads|read by thread .*after a write by thread 31"),
    ("half_syncs_then_other_reads", "read by .*after a write|write by .*after a read"),
    ("half_syncs_then_other_writes", "write by .*after a read|read by .*after a write"),
    ("both_halves_write", "(read|write) by .*after a write"),
    ("chain_of_pairs", "read by thread 2 .*after a write by thread 0|write by thread 0 .*after a read by thread 2"),
    ("chain_is_overtaken", "write by thread 2 .*after reads|read by thread 0 .*after a write by thread 2"),
    ("returned_lanes_write", "read by thread 19 .*after a write by thread 20"),
    ("set_then_copied", r"(read by thread 1|write by thread 0) of .* at planted\.cu:\d+, after"),
    ("moved_by_all", "(read|write) by .*, after a (read|write) by"),
    ("counter_is_set", "atomic by thread .*after a write by thread 0|write by thread 0 .*after (an atomic|atomics)"),
    ("counter_is_read", "atomic by thread .*after a read by thread 0|read by thread 0 .*after (an atomic|atomics)"),
    ("counter_is_read_by_half", "read by thread .*after (an atomic|atomics)|atomic by .*after (a read|reads)"),
]
TWINS = [
    "missing_barrier_ok",
    "write_after_reads_ok",
    "both_halves_write_ok",
    "chain_of_pairs_ok",
    "readers_one_by_one_ok",
    "reads_before_a_barrier_ok",
    "returned_lanes_write_ok",
    "set_then_copied_ok",
    "counter_ok",
]
# Kernel, whether results depend on the order of threads and blocks.
ORDER = [
    ("missing_barrier", True),
    ("forward_only", True),
    ("second_barrier", True),
    ("missing_syncwarp", True),
    ("dynamic_race", True),
    ("blocks_write", True),
    ("missing_barrier_ok", False),
    ("write_after_reads_ok", False),
]
# Kernel, what the sanitizers print.
SANITIZED = [
    ("past_global", r"heap-buffer-overflow(.|\n)*in past_global .*planted\.cu:\d+"),
    ("past_static", r"planted\.cu:\d+:\d+: runtime error: index 32 out of bounds"),
    ("past_dynamic", r"heap-buffer-overflow(.|\n)*in past_dynamic .*planted\.cu:\d+"),
    ("overflow", r"planted\.cu:\d+:\d+: runtime error: signed integer overflow"),
    ("misaligned", r"planted\.cu:\d+:\d+: runtime error: store to misaligned address"),
]


def run(name: str, mode: str) -> bytes:
    make, how = RUNS[name]
    arguments = make()
    launch("planted.cu", mode, name, *arguments, **how)
    return b"".join(argument.tobytes() for argument in arguments if isinstance(argument, np.ndarray))


@pytest.mark.parametrize(("name", "mode", "text"), FOUND, ids=lambda value: value if len(value) < 25 else "")
def test_planted_fault_is_found_and_the_runtime_lives_on(name, mode, text):
    with pytest.raises(KernelError) as error:
        run(name, mode)
    assert str(error.value).startswith(f"{name}: ") and re.search(text, str(error.value)), str(error.value)
    run("missing_barrier_ok", mode)


@pytest.mark.parametrize(("name", "text"), EVERY_ORDER)
def test_race_is_found_in_every_order(name, text, schedule):
    with pytest.raises(KernelError, match=text):
        run(name, "race")


@pytest.mark.parametrize("name", TWINS)
def test_correct_twin_is_not_accused(name, schedule):
    run(name, "race")


@pytest.mark.parametrize(("name", "depends"), ORDER)
def test_order_of_threads_shows_in_the_bits_of_a_faulty_kernel_only(name, depends):
    results = set()
    for schedule, seed in SCHEDULES:
        with emulator.configure(schedule=schedule, seed=seed, workers=1):
            results.add(run(name, "fast"))
    assert (len(results) > 1) == depends


@pytest.mark.parametrize(("name", "shared_mem"), [("unwritten_static", 0), ("unwritten_dynamic", 256)])
def test_shared_memory_that_no_thread_wrote_is_nan(name, shared_mem):
    y = zeros(64)
    launch("planted.cu", "fast", "missing_barrier_ok", ramp(256), block=(256,))
    for _ in range(2):
        launch("planted.cu", "fast", name, y, block=(64,), shared_mem=shared_mem)
        assert y[0] == 1 and np.isnan(y[1:]).all()


def test_lane_outside_the_mask_sends_nan():
    y = zeros(16)
    launch("planted.cu", "fast", "lane_outside", y)
    assert np.isnan(y).all()


def sanitize(script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **emulator.asan_environment(), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(("name", "text"), SANITIZED)
def test_sanitizers_find_the_planted_fault(name, text):
    result = sanitize(f"from tests.emulator.test_planted import run\nrun({name!r}, 'asan')")
    assert result.returncode != 0 and re.search(text, result.stderr), result.stderr[-3000:]


def test_sanitizers_accept_the_good_kernels_in_every_order():
    result = sanitize(
        "from gpunet import emulator\n"
        "from tests.emulator import test_runtime as good\n"
        "from tests.emulator.conftest import SCHEDULES\n"
        "for order, seed in SCHEDULES:\n"
        "    with emulator.configure(schedule=order, seed=seed):\n"
        "        good.test_tiled_matmul('asan', order)\n"
        "        good.test_warp_softmax_with_warps_that_return_early('asan', order)\n"
        "        good.test_collectives('asan', order)\n"
        "        good.test_dynamic_shared_memory('asan', order)\n"
        "        good.test_last_block_may_read_what_others_fenced('asan', order)\n"
        "good.test_intrinsics('asan')\n"
        "print('clean')"
    )
    assert result.returncode == 0 and "clean" in result.stdout, result.stderr[-3000:]
