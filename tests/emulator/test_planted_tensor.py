"""Mistakes with tensor cores and asynchronous copies: each is found, in every order of threads, and twins pass."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gpunet.backend import kernels
from gpunet.backend.dtypes import bfloat16
from gpunet.errors import KernelError
from tests.emulator.conftest import HERE, aligned, launch
from tests.emulator.test_planted import sanitize

FILE, DEPTH = "planted_tensor.cu", 64
LINES = (HERE / FILE).read_text().splitlines()
WRAPPERS = (kernels.kernel_dir() / "mma.cuh").read_text().splitlines()
WRONG_VALUES = ["swapped_a", "wrong_b_row", "wrong_column", "wrong_matrix_row", "no_wait", "weak_wait", "uncommitted"]
TRAPS = [
    ("misaligned_matrix", r"ldmatrix from an address that is not aligned to 16 bytes by thread \d+"),
    ("misaligned_copy", r"cp\.async with an address that is not aligned to its size by thread \d+"),
    ("to_global", r"cp\.async to what is not shared memory by thread \d+ \(warp [01]\) in block \(0,0,0\)"),
    ("half_a_warp", r"deadlock .*32 of 64 live threads wait at __syncthreads .*where only lanes 0x0000ffff have"),
    ("last_lanes_return", r"mma\.sync without all 32 lanes by thread \d+"),
]
RACES = ["no_first_barrier", "no_second_barrier", "share_unordered", "share_at_issue", "share_at_landing"]
SANITIZED = [
    ("past_static_copy", r"global-buffer-overflow(.|\n)*WRITE of size 16(.|\n)*planted_tensor\.cu:\d+"),
    ("past_dynamic_copy", r"heap-buffer-overflow(.|\n)*WRITE of size 16(.|\n)*planted_tensor\.cu:\d+"),
    ("past_the_matrix", r"heap-buffer-overflow(.|\n)*READ of size 16(.|\n)*planted_tensor\.cu:\d+"),
]


def run(name: str, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a kernel of the file gives, and what it should give."""
    rng = np.random.default_rng(0)
    if name.startswith("share"):
        x, y = aligned(rng.standard_normal(4).astype(np.float32)), np.zeros(32, np.float32)
        launch(FILE, mode, name, y, x)
        return y, np.tile(x, 8)
    if name.startswith("past") and name != "past_the_matrix":
        x, y = aligned(np.zeros(128, np.float32)), np.zeros(32, np.float32)
        launch(FILE, mode, name, y, x, shared_mem=31 * 16)
        return y, x[::4]
    a, b = (aligned(rng.integers(-8, 8, (16, DEPTH)).astype(bfloat16())) for _ in "ab")
    c = aligned(np.zeros((16, 16), np.float32))
    launch(FILE, mode, name, c, a.view(np.uint16), b.view(np.uint16), DEPTH, block=(64,))
    return c, a.astype(np.float64) @ b.astype(np.float64).T


@pytest.mark.parametrize("name", ["product_ok", "share_ok"])
def test_correct_twin_is_right_and_not_accused(name, mode, schedule):
    result, expected = run(name, mode)
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_mistake_shows_in_the_values(name, schedule):
    result, expected = run(name, "fast")
    assert not np.array_equal(result, expected, equal_nan=True)


@pytest.mark.parametrize("name", ["no_wait", "weak_wait", "uncommitted"])
def test_what_has_not_been_waited_for_is_nan(name, schedule):
    result, _ = run(name, "fast")
    assert np.isnan(result).all()


@pytest.mark.parametrize(("name", "text"), TRAPS)
def test_mistake_stops_the_kernel_with_its_reason(name, text, mode, schedule):
    with pytest.raises(KernelError, match=text):
        run(name, mode)


@pytest.mark.parametrize("name", RACES)
def test_missing_barrier_is_a_race_in_every_order_at_the_line_that_issued_the_copy(name, schedule):
    with pytest.raises(KernelError, match=r"race in shared memory .*no barrier between them") as error:
        run(name, "race")
    # From the wrapper through the helper to the kernel.
    sites = dict(re.findall(r"(read|write)s?(?:, the last)? by thread \d+ of block \S+ at (.*?),", str(error.value)))
    wrapper, *lines = (int(line) for line in re.findall(r"(?:mma|planted_tensor)\.cuh?:(\d+)", sites["write"]))
    assert "gpunet::copy_async" in WRAPPERS[wrapper - 1]
    assert "copy_async(" in LINES[lines[0] - 1]
    assert name in LINES[lines[-1] - 1] + LINES[lines[-1] - 2], "the kernel"
    assert "read" in sites


def test_missing_rounding_shows_as_a_bias():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (16, 512)).astype(np.float32), rng.uniform(1, 2, (8, 512)).astype(np.float32)
    expected = a.astype(np.float64) @ b.astype(np.float64).T
    error = {}
    for name in ("tf32_ok", "tf32_unrounded"):
        c = np.zeros((16, 8), np.float32)
        launch(FILE, "fast", name, c, a, b, 512)
        error[name] = (c - expected) / expected
    assert abs(error["tf32_ok"]).max() < 5e-5
    assert error["tf32_unrounded"].max() < -5e-4


def test_copy_to_static_memory_beside_dynamic_memory(mode):
    x, y = aligned(np.arange(128, dtype=np.float32)), np.zeros(32, np.float32)
    launch(FILE, mode, "both_kinds_ok", y, x, shared_mem=128)
    assert np.array_equal(y, x[::4])


@pytest.mark.parametrize(("name", "text"), SANITIZED)
def test_sanitizers_find_a_copy_out_of_bounds(name, text):
    result = sanitize(f"from tests.emulator.test_planted_tensor import run\nrun({name!r}, 'asan')")
    assert result.returncode != 0 and re.search(text, result.stderr), result.stderr[-3000:]


def test_sanitizers_accept_the_correct_twins():
    result = sanitize(
        "from tests.emulator import test_planted_tensor as planted\n"
        "for name in ('product_ok', 'share_ok'):\n"
        "    planted.test_correct_twin_is_right_and_not_accused(name, 'asan', None)\n"
        "planted.test_copy_to_static_memory_beside_dynamic_memory('asan')\n"
        "print('clean')"
    )
    assert result.returncode == 0 and "clean" in result.stdout, result.stderr[-3000:]
