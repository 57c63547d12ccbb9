"""What every backend does alike: layouts, dense copies, transfers; and how devices are found."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gpunet import backend
from gpunet.backend.layout import coalesce, is_dense, layout_of
from gpunet.errors import DeviceError, DTypeError, KernelError
from tests.harness.memory import VARIANTS


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 2, 4, 3)], ids=str)
def test_empty_has_the_layout_asked_for(be, shape, layout):
    array = be.empty(shape, np.float32, layout)
    assert array.shape == shape and array.dtype == np.float32 and is_dense(array, layout)
    assert layout_of(array) == (layout if len(shape) > 2 else "contiguous")


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (2, 5, 1, 1), (0, 3, 4, 4)], ids=str)
def test_where_both_layouts_coincide_it_counts_as_contiguous(be, shape):
    array = be.zeros(shape, np.float32, "channels_last")
    assert layout_of(array) == "contiguous" and is_dense(array, "channels_last")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_dense_resolves_any_strides(be, variant, layout, dtype):
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(dtype)
    array = VARIANTS[variant](be, values)
    dense = be.dense(array, layout)
    assert is_dense(dense, layout) and np.array_equal(be.to_numpy(dense), values)
    if variant == "dense" and layout == "contiguous":
        assert dense is array


@pytest.mark.parametrize(
    ("take", "alignment", "in_place"),
    [
        (lambda x: x, 16, True),
        (lambda x: x[:, 4:12], 16, True),
        (lambda x: x[::-2, ::3], 16, True),
        (lambda x: x[:, :1, :3], 16, True),
        (lambda x: x[:0], 16, True),
        (lambda x: x[..., 1:5], 16, False),
        (lambda x: x[..., 1:5], 4, True),
        (lambda x: x[..., ::2], 4, False),
        (lambda x: x[..., ::-1], 4, False),
        (lambda x: x.transpose(0, 2, 1), 4, False),
        (lambda x: x.reshape(-1)[:11].reshape(1, 11), 16, True),
    ],
)
def test_rows_are_read_in_place_or_copied(be, take, alignment, in_place):
    values = np.arange(3 * 8 * 16, dtype=np.float32).reshape(3, 8, 16)
    array = take(be.from_numpy(values))
    rows = be.rows(array, alignment)
    assert (rows is array) == be.has_rows(array, alignment) == in_place
    assert np.array_equal(be.to_numpy(rows), take(values)) and be.has_rows(rows, 4)


def test_dense_resolves_broadcast_axes(be):
    row = be.from_numpy(np.arange(3.0))
    assert be.to_numpy(be.dense(be.xp.broadcast_to(row, (2, 3)), "contiguous")).tolist() == [[0, 1, 2]] * 2


def test_zero_dimensional_arrays_work(be):
    array = be.zeros((), np.float64)
    be.fill(array, 2.5)
    assert be.to_numpy(be.dense(array, "contiguous")) == 2.5


@pytest.mark.only_backends("emulated", "cupy")
def test_transfers_are_counted(be):
    reads, writes = be.host_reads, be.host_writes
    be.to_numpy(be.from_numpy(np.ones(3)))
    assert (be.host_reads, be.host_writes) == (reads + 1, writes + 1)


def test_coalescing_merges_what_all_operands_walk_alike():
    assert coalesce((2, 3, 4), (12, 4, 1)) == [[24], [1]]
    assert coalesce((2, 1, 4), (12, 99, 1), (4, 0, 1)) == [[2, 4], [12, 1], [4, 1]]
    assert coalesce((), ()) == [[], []]


@pytest.mark.only_backends("emulated", "cupy")
def test_mixed_devices_are_refused(be):
    with pytest.raises(DeviceError, match="expected one device, got cpu and"):
        backend.of(np.ones(1), be.zeros((1,), np.float32))


def test_what_is_no_array_is_refused():
    with pytest.raises(DTypeError, match=r"builtins\.list is not an array"):
        backend.of([1.0])
    with pytest.raises(DTypeError, match="there is no array to work on"):
        backend.of(None)


REQUIRE = "tests/backend/test_backends.py::test_zero_dimensional_arrays_work"


@pytest.mark.parametrize(("require", "outcome"), [("", "1 skipped"), ("emulated", "1 error")])
def test_a_missing_backend_skips_or_fails_as_the_environment_requires(require, outcome, tmp_path):
    """Without g++ on the path the emulator cannot run: a skip with the reason, or a failure where it is required."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--backend", "emulated", "-rs", "-p", "no:cacheprovider", REQUIRE],
        env={
            "PATH": str(tmp_path),
            "GPUNET_REQUIRE": require,
            "GPUNET_CACHE_DIR": str(tmp_path),
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert outcome in result.stdout, result.stdout + result.stderr
    assert "the emulated backend was not tested" in result.stdout and "g++" in result.stdout
    assert (result.returncode == 0) == (require == "")


def test_an_unknown_requirement_is_refused():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", REQUIRE],
        env={"PATH": "", "GPUNET_REQUIRE": "emulate"},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0 and "GPUNET_REQUIRE names ['emulate']" in result.stderr


def test_the_suite_collects_for_cupy():
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--backend", "cupy", "--collect-only", "tests/test_every_op.py"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0 and "[cupy-conv2d-all" in result.stdout


@pytest.mark.only_backends("emulated", "cupy")
def test_elements_that_no_kernel_moves_are_refused(be):
    wide = be.from_numpy(np.ones((2, 3), np.complex128))
    for call in (lambda: be.dense(wide.T, "contiguous"), lambda: be.fill(wide, 0)):
        with pytest.raises(KernelError, match="elements of 1, 2, 4 or 8 bytes, got complex128"):
            call()


@pytest.mark.parametrize("rows", [2, 8, 9, 17])
def test_large_copies_are_whole(be, rows):
    """Threads may share them; rows and columns change places."""
    values = np.arange(rows * 200_000, dtype=np.float32).reshape(-1, rows).T
    out = be.empty(values.shape, np.float32)
    be.copy(out, be.from_numpy(values) if be.name == "numpy" else be.from_numpy(values.copy()))
    assert np.array_equal(be.to_numpy(out), values)


@pytest.mark.only_backends("numpy")
def test_a_large_copy_onto_itself_reads_before_it_writes(be):
    x = np.arange(9 * 200_000).reshape(9, -1)
    expected = x[:-1].copy()
    be.copy(x[1:], x[:-1])
    assert np.array_equal(x[1:], expected)


@pytest.mark.only_backends("emulated", "cupy")
def test_a_copy_refuses_what_has_no_one_result(be):
    x = be.zeros((2, 3), np.float32)
    with pytest.raises(KernelError, match=r"elements of out share memory, with strides \(0, 4\) for shape \(2, 3\)"):
        be.copy(be.xp.broadcast_to(x[:1], (2, 3)), x)
    with pytest.raises(KernelError, match=r"copy: \(2, 3\) float32 does not fit \(3, 2\) float32"):
        be.copy(be.zeros((3, 2), np.float32), x)
