"""The tensor-core half of the emulator against the tables of NVIDIA's PTX ISA, stated here once more.

"Matrix fragments for mma.m16n8k8" and "m16n8k16" say which element of a matrix a lane holds as which element of its
fragment; "Warp-level matrix load instruction: ldmatrix" says the same of what it loads.
"""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.backend import kernels, nvrtc
from gpunet.backend.dtypes import bfloat16
from tests.emulator.conftest import HERE, launch
from tests.harness.backends import missing

LANES = range(32)
TYPES = {"float": np.dtype(np.float32), "half": np.dtype(np.float16), "bfloat16": bfloat16()}
INSTRUCTIONS = [
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "cvt.rna.tf32.f32",
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16",
    "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16",
    "cp.async.cg.shared.global",
    "cp.async.commit_group",
    "cp.async.wait_group",
]


def place_in_a(lane: int, i: int, bits: int) -> tuple[int, int]:
    """Return row and column of element i of the fragment of A (16 x 8 of 32 bits, 16 x 16 of 16 bits)."""
    group, thread = lane >> 2, lane % 4
    if bits == 32:
        return (group if i in (0, 2) else group + 8), (thread if i in (0, 1) else thread + 4)
    return (group if i in (0, 1, 4, 5) else group + 8), thread * 2 + (i & 1) + (0 if i < 4 else 8)


def place_in_b(lane: int, i: int, bits: int) -> tuple[int, int]:
    """Likewise of B (8 x 8, or 16 x 8)."""
    group, thread = lane >> 2, lane % 4
    if bits == 32:
        return (thread if i == 0 else thread + 4), group
    return thread * 2 + (i & 1) + (0 if i < 2 else 8), group


def place_in_c(lane: int, i: int) -> tuple[int, int]:
    """Likewise of C (16 x 8)."""
    group, thread = lane >> 2, lane % 4
    return (group if i < 2 else group + 8), thread * 2 + (i & 1)


def fragments(matrices, place, per_lane):
    """Return what the lanes hold of each matrix: (matrices, lanes, elements)."""
    rows, columns = np.array([[place(lane, i) for i in range(per_lane)] for lane in LANES]).transpose(2, 0, 1)
    return np.ascontiguousarray(matrices[:, rows, columns])


def one_hot(count, shape):
    """Return a matrix for each place: 1 there, else 0."""
    return np.eye(count).reshape(count, *shape)


@pytest.mark.parametrize("dtype", TYPES)
def test_mma_finds_every_element_where_the_isa_puts_it(mode, schedule, dtype):
    bits, depth = TYPES[dtype].itemsize * 8, 32 // TYPES[dtype].itemsize
    place_a, place_b = (lambda lane, i: place_in_a(lane, i, bits)), (lambda lane, i: place_in_b(lane, i, bits))
    # Small integers that all types hold, all different. One factor is 1 in a single place, so that the product says
    # where that was.
    places_a, places_b = 16 * depth, depth * 8
    a = np.concatenate([one_hot(places_a, (16, depth)), np.tile(np.arange(places_a).reshape(16, -1), (places_b, 1, 1))])
    b = np.concatenate([np.tile(np.arange(places_b).reshape(-1, 8), (places_a, 1, 1)), one_hot(places_b, (depth, 8))])
    c = np.tile(1000.0 * np.arange(16 * 8).reshape(16, 8), (len(a), 1, 1))
    registers = [
        fragments(matrix.astype(TYPES[dtype]), place, 2 * per_lane).reshape(len(a), 32, -1).view(np.uint32)
        for matrix, place, per_lane in ((a, place_a, depth // 4), (b, place_b, depth // 8))
    ]
    result = fragments(c.astype(np.float32), place_in_c, 4)
    launch("tensor.cu", mode, f"multiply_{dtype}", result, *registers, grid=(len(a),))
    assert np.array_equal(result, fragments(a @ b + c, place_in_c, 4))


@pytest.mark.parametrize("transposed", [False, True])
def test_ldmatrix_takes_rows_from_all_lanes_and_gives_each_its_elements(mode, schedule, transposed):
    rows = np.arange(1, 257, dtype=np.uint16).reshape(32, 8)
    row_of = np.random.default_rng(0).permutation(32).astype(np.int32)
    words = np.zeros((32, 4), np.uint32)
    launch("tensor.cu", mode, "load_transposed" if transposed else "load_plain", words, rows, row_of)
    for matrix in range(4):
        addressed = rows[row_of[8 * matrix : 8 * matrix + 8]]
        if transposed:
            addressed = addressed.T
        for lane in LANES:
            expected = addressed[lane // 4, 2 * (lane % 4) : 2 * (lane % 4) + 2]
            assert np.array_equal(words[lane, matrix : matrix + 1].view(np.uint16), expected), (matrix, lane)


def rounded(x: np.ndarray) -> np.ndarray:
    """Return float32 numbers to 10 bits of mantissa, ties away from zero; denormal numbers have as many fewer."""
    wide = np.abs(x.astype(np.float64))
    exponent = np.maximum(np.floor(np.log2(wide, where=wide > 0, out=np.full(x.shape, -200.0))), -126)
    spacing = 2.0 ** (exponent - 10)
    away = np.floor(wide / spacing + 0.5) * spacing
    return np.copysign(np.where(away > np.finfo(np.float32).max, np.inf, away), x).astype(np.float32)


def test_tf32_rounds_to_nearest_and_ties_away_from_zero(mode):
    words = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32)
    ties = (words[:2000] & 0xFFFFE000) | 0x1000
    odd = [0, 0x80000000, 1, 0xFFF, 0x1000, 0x80001000, 0x007FFFFF, 0x7F7FEFFF, 0x7F7FF000, 0xFF7FFFFF]
    words = np.concatenate([words, ties, ties - 1, ties + 1, np.array(odd, np.uint32)])
    words = words[np.isfinite(words.view(np.float32))]
    result = np.zeros_like(words)
    launch("tensor.cu", mode, "round_all", result, words, len(words))
    assert np.array_equal(result, rounded(words.view(np.float32)).view(np.uint32))
    assert not np.any(result & 0x1FFF)


def test_tf32_keeps_infinities_and_nan(mode):
    """A NaN whose bits are all low ones is still one in the 19 bits that the tensor cores see."""
    words = np.array([0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF], np.uint32)
    result = np.zeros_like(words)
    launch("tensor.cu", mode, "round_all", result, words, len(words))
    seen = (result & 0xFFFFE000).view(np.float32)
    assert np.array_equal(seen[:2], [np.inf, -np.inf]) and np.isnan(seen[2:]).all()


def test_tiles_drop_the_low_bits_of_what_nobody_has_rounded(mode):
    a, b, c = np.zeros((32, 4), np.float32), np.zeros((32, 2), np.float32), np.zeros((32, 4), np.float32)
    a[0, 0], b[0, 0] = 1 + 2**-10 + 2**-11, -(1 + 2**-11)  # of row 0, column 0, depth 0
    launch("tensor.cu", mode, "multiply_float", c, a.view(np.uint32), b.view(np.uint32))
    assert c[0, 0] == -(1 + 2**-10) and np.count_nonzero(c) == 1


def test_asynchronous_copy_lands_at_the_wait_and_fills_with_zeros(mode, schedule):
    x = np.arange(1, 129, dtype=np.float32).reshape(32, 4)
    y, early = np.zeros_like(x), np.zeros_like(x)
    launch("tensor.cu", mode, "copy_even_lanes", y, early, x)
    assert np.isnan(early).all()
    assert np.array_equal(y, np.where(np.arange(32)[:, None] % 2 == 0, x, 0))


@pytest.mark.parametrize("size", [4, 8, 16])
def test_asynchronous_copy_of_a_part_fills_the_rest_of_its_bytes_with_zeros(mode, size):
    raw = np.arange(1, 33, dtype=np.uint8)
    x = raw[-raw.ctypes.data % 16 :][:16]
    for valid in range(size + 1):
        y = np.zeros(16, np.uint8)
        launch("tensor.cu", mode, f"copy_part_of_{size}", y, x, valid, block=(1,))
        expected = np.where(np.arange(16) < valid, x, 0)
        expected[size:] = 0xFF  # nobody has written it
        assert np.array_equal(y, expected), valid


@pytest.mark.parametrize("arch", [80, 86, 89, 90, 100, 120])
def test_nvrtc_makes_the_very_instructions(arch):
    if nvrtc.unavailable():
        missing("emulated", nvrtc.unavailable())
    compiled = nvrtc.compile_source(kernels.read(HERE / "tensor.cu"), {}, arch)
    assert not compiled.warnings
    for instruction in INSTRUCTIONS:
        assert instruction in compiled.ptx, instruction


def test_older_gpus_trap_instead(arch=75):
    if nvrtc.unavailable():
        missing("emulated", nvrtc.unavailable())
    compiled = nvrtc.compile_source(kernels.read(HERE / "tensor.cu"), {}, arch)
    assert "trap;" in compiled.ptx and not any(i in compiled.ptx for i in INSTRUCTIONS if "ldmatrix" not in i)
