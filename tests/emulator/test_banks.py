"""Banks mode counts the wavefronts of planted conflicts exactly, and finds none in their padded or swizzled twins."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import emulator
from gpunet.errors import KernelError
from tests.emulator.conftest import HERE, launch

FILE = "banks.cu"
LINES = (HERE / FILE).read_text().splitlines()
LANES = np.arange(32)
ELEMENTS = {1: np.uint8, 2: np.uint16, 4: np.float32, 8: np.float64, 16: np.float32}


def watch(name: str, *args, **how) -> dict[str, emulator.SharedAccess]:
    """Return what a kernel does to shared memory: {kind: the access}, each of one line."""
    with emulator.watch_banks() as accesses:
        launch(FILE, "banks", name, *args, **how)
    assert len({access.kind for access in accesses}) == len(accesses), accesses
    assert all(access.kernel == name for access in accesses)
    return {access.kind: access for access in accesses}


def touch(size: int, index, memory: str = "static") -> list[tuple[int, int, int]]:
    """Return (wavefronts, phases, worst) of a warp's read and write of these elements."""
    index = np.array(index, np.int32)
    y = np.zeros(len(index) * (4 if size == 16 else 1), ELEMENTS[size])
    shared = 2048 * size if memory == "dynamic" else 0
    found = watch(f"{memory}_{size}", y, index, block=(len(index),), shared_mem=shared)
    assert {access.size for access in found.values()} == {size}
    assert all("memory[at]" in LINES[int(a.where.split(":")[1].split()[0]) - 1] for a in found.values())
    return [(found[kind].wavefronts, found[kind].phases, found[kind].worst) for kind in ("read", "write")]


# Bytes of an element, elements of the lanes, wavefronts, phases, worst.
PATTERNS = {
    "neighbours": (4, LANES, 1, 1, 1),
    "neighbours, backwards": (4, LANES[::-1], 1, 1, 1),
    "every second word": (4, LANES * 2, 2, 1, 2),
    "every fourth word": (4, LANES * 4, 4, 1, 4),
    "an odd stride": (4, LANES * 33, 1, 1, 1),
    "a column": (4, LANES * 32, 32, 1, 32),
    "one word for all": (4, LANES * 0 + 7, 1, 1, 1),
    "a word for each four": (4, LANES // 4 * 33, 1, 1, 1),
    "two words of one bank": (4, LANES % 2 * 32, 2, 1, 2),
    "one lane hits another's bank": (4, [*LANES[:31], 32], 2, 1, 2),
    "half a warp": (4, [lane * 2 if lane < 16 else -1 for lane in LANES], 1, 1, 1),
    "a quarter of a warp": (4, [lane * 8 if lane < 8 else -1 for lane in LANES], 2, 1, 2),
    "one lane": (4, [5, *[-1] * 31], 1, 1, 1),
    "neighbours of 1 byte": (1, LANES, 1, 1, 1),
    "1 byte of every bank twice": (1, LANES * 8, 2, 1, 2),
    "neighbours of 2 bytes": (2, LANES, 1, 1, 1),
    "2 bytes, a column": (2, LANES * 64, 32, 1, 32),
    "neighbours of 8 bytes": (8, LANES, 2, 2, 1),
    "8 bytes, every second": (8, LANES * 2, 4, 2, 2),
    "8 bytes, a conflict between phases only": (8, [*LANES[:16], *LANES[:16] + 32], 2, 2, 1),
    "8 bytes, a column": (8, LANES * 16, 32, 2, 16),
    "8 bytes, one phase": (8, [lane if lane < 16 else -1 for lane in LANES], 1, 1, 1),
    "neighbours of 16 bytes": (16, LANES, 4, 4, 1),
    "16 bytes, every second": (16, LANES * 2, 8, 4, 2),
    "16 bytes, a column": (16, LANES * 8, 32, 4, 8),
    "16 bytes, a swizzled column": (16, LANES * 8 + LANES % 8, 4, 4, 1),
    "16 bytes, a padded column": (16, LANES * 9, 4, 4, 1),
    "16 bytes, one for all": (16, LANES * 0 + 3, 4, 4, 1),
    "16 bytes, a lane of each phase": (16, [lane if lane % 8 == 0 else -1 for lane in LANES], 4, 4, 1),
    "16 bytes, a conflict in one phase": (16, [9, *LANES[1:]], 5, 4, 2),
    "a warp and a part": (4, np.arange(40) * 2, 2 + 1, 2, 2),
    "two warps do not conflict": (4, [*LANES, *LANES + 32], 2, 2, 1),
}


@pytest.mark.parametrize("memory", ["static", "dynamic"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_wavefronts_of_a_pattern(pattern, memory, schedule):
    size, index, *expected = PATTERNS[pattern]
    assert touch(size, index, memory) == [tuple(expected)] * 2


def wavefronts(size: int, index) -> list[int]:
    """Return the wavefronts of each phase that has lanes, from what NVIDIA says of shared memory."""
    lanes = min(32, 128 // size)
    counts = []
    for first in range(0, 32, lanes):
        words = {(at * size + byte) // 4 for at in index[first : first + lanes] if at >= 0 for byte in range(size)}
        if words:
            counts.append(max(np.bincount([word % 32 for word in words])))
    return counts


@pytest.mark.parametrize("size", ELEMENTS)
def test_wavefronts_of_random_patterns(size):
    rng = np.random.default_rng(size)
    for _ in range(40):
        index = rng.integers(0, rng.choice([8, 64, 2048]), 32)
        index[rng.random(32) < rng.choice([0, 0.2, 0.9])] = -1
        index[rng.integers(32)] = 0
        counts = wavefronts(size, index)
        assert touch(size, index) == [(sum(counts), len(counts), max(counts))] * 2, index


def test_a_vector_that_is_moved_as_a_whole_is_one_access():
    with emulator.watch_banks() as accesses:
        launch(FILE, "banks", "read_vectors", np.zeros(32, np.float32))
    counts = [(a.kind, a.size, a.accesses, a.wavefronts, a.phases) for a in accesses]
    assert counts == [("write", 16, 1, 4, 4), ("read", 16, 1, 4, 4), ("read", 4, 1, 4, 1)]


# Rows of 16 bytes in a tile with lines of 128 bytes: those that 8 lanes of a phase take.
ROWS = {
    "unswizzled": (LANES % 8 * 8 + LANES // 8, 32, 8),
    "swizzled": (LANES % 8 * 8 + (LANES // 8 ^ LANES % 8), 4, 1),
    "padded": (LANES % 8 * 9 + LANES // 8, 4, 1),
}


@pytest.mark.parametrize("rows", ROWS)
def test_ldmatrix_takes_a_phase_for_the_rows_of_each_matrix(rows, schedule):
    index, expected, worst = ROWS[rows]
    (access,) = watch("matrices", np.zeros(32, np.uint32), index.astype(np.int32)).values()
    assert (access.kind, access.size, access.accesses, access.phases) == ("read", 16, 1, 4)
    assert (access.wavefronts, access.worst, access.conflicts) == (expected, worst, expected - 4)


@pytest.mark.parametrize("rows", ROWS)
def test_asynchronous_copies_are_counted_once_like_stores_of_16_bytes(rows, schedule):
    index, expected, worst = ROWS[rows]
    raw = np.zeros(2 * 128 + 4, np.float32)
    x = raw[-raw.ctypes.data % 16 // 4 :][:128]
    access = watch("copies", np.zeros(128, np.float32), x, index.astype(np.int32))["write"]
    assert (access.size, access.accesses, access.phases) == (16, 1, 4)
    assert (access.wavefronts, access.worst) == (expected, worst)


def test_a_loop_is_counted_turn_by_turn(schedule):
    y, x = np.zeros((32, 32), np.float32), np.arange(1024, dtype=np.float32).reshape(32, 32)
    found = watch("transpose_plain", y, x)
    assert np.array_equal(y, x.T)
    counts = {kind: (a.accesses, a.phases, a.wavefronts, a.worst) for kind, a in found.items()}
    assert counts == {"write": (32, 32, 32, 1), "read": (32, 32, 1024, 32)}
    assert not any(access.conflicts for access in watch("transpose_padded", y, x).values())


@pytest.mark.parametrize("where", ["nowhere", "at_syncwarp", "at_a_shuffle", "at_a_barrier"])
def test_lanes_are_compared_since_they_last_met(where, schedule):
    access = watch(f"meets_{where}", np.zeros(1, np.float32), 2)["write"]
    assert access.accesses == 2
    assert access.worst == (2 if where == "nowhere" else 1)


def test_halves_of_a_warp_that_go_apart_are_counted_apart(schedule):
    with emulator.watch_banks() as accesses:
        launch(FILE, "banks", "halves", np.zeros(32, np.float32))
    counts = sorted((a.kind, a.accesses, a.wavefronts) for a in accesses)
    assert counts == [("read", 1, 1), ("write", 1, 1), ("write", 1, 2)]


def test_launches_and_blocks_add_up_and_atomics_count():
    with emulator.watch_banks() as accesses:
        for blocks in (2, 3):
            launch(FILE, "banks", "count_all", np.zeros(96, np.int32), grid=(blocks,))
    assert [(a.kind, a.accesses, a.wavefronts, a.worst) for a in accesses] == [
        ("write", 5, 10, 2),
        ("atomic", 5, 10, 2),
        ("read", 5, 5, 1),
    ]


def test_report_in_words_names_the_line_in_the_helper_and_the_one_that_calls_it():
    found = watch("transpose_plain", np.zeros(1024, np.float32), np.zeros(1024, np.float32))
    read, call = (next(n for n, line in enumerate(LINES, 1) if text in line) for text in ("[threadIdx.x][i]", "<32>(y"))
    assert str(found["read"]) == (
        f"transpose_plain: read of 4 bytes at banks.cu:{read} from banks.cu:{call}: "
        "32-way bank conflicts (1024 wavefronts instead of 32)"
    )
    assert str(found["write"]).endswith("no bank conflicts (32 wavefronts)")


def test_only_the_innermost_watch_sees_a_launch_and_none_outlives_its_block():
    y = np.zeros(32, np.int32)
    with emulator.watch_banks() as outer:
        with emulator.watch_banks() as inner:
            assert emulator.settings().mode == "banks"
            launch(FILE, "banks", "count_all", y)
        assert len(inner) == 3
    launch(FILE, "banks", "count_all", y)
    assert outer == [] and len(inner) == 3 and inner[0].accesses == 1


def test_a_kernel_that_fails_leaves_nothing_behind():
    code = (HERE / FILE).read_text() + (
        'extern "C" __global__ void fails(float* y) {\n'
        "    __shared__ float held[64];\n    held[threadIdx.x * 2] = 1;\n    if (threadIdx.x == 31) __trap();\n}\n"
    )
    with emulator.watch_banks() as accesses:
        module = emulator.RawModule(code=code, options=[f"-I{HERE}"], name=FILE)
        with pytest.raises(KernelError, match="__trap"):
            module.get_function("fails")((1,), (32,), (np.zeros(1, np.float32),))
        module.get_function("count_all")((1,), (32,), (np.zeros(32, np.int32),))
    assert {access.kernel for access in accesses} == {"count_all"} and accesses[0].accesses == 1
