from __future__ import annotations

import functools
import gzip
import lzma
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.data import idx
from gpunet.data.idx import read_idx, write_idx
from gpunet.errors import DTypeError, FormatError, ShapeError

DTYPES = [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]
SUFFIXES = ["", ".gz", ".xz"]


def header(code, *shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def refused(path, data, text, **options):
    path.write_bytes(data)
    with pytest.raises(FormatError, match=text) as caught:
        read_idx(path, **options)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (3, 0), (5, 4, 3), (2, 3, 1, 5)])
def test_idx_reads_what_was_written(tmp_path, rng, dtype, shape, suffix):
    array = rng.integers(0, 100, shape).astype(dtype)
    write_idx(tmp_path / f"x{suffix}", array)
    found = read_idx(tmp_path / f"x{suffix}")
    assert found.dtype == dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_idx_is_the_published_format(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 2, 255, 254]))
    assert read_idx(path).tolist() == [[258], [-2]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_idx_writes_any_strides_and_the_same_bytes_twice(tmp_path, suffix):
    array = np.arange(24, dtype=">i4").reshape(4, 6).T[::2]
    write_idx(tmp_path / f"a{suffix}", array)
    write_idx(tmp_path / f"b{suffix}", np.ascontiguousarray(array, np.int32))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    np.testing.assert_array_equal(read_idx(tmp_path / f"a{suffix}"), array)


def test_idx_gzip_holds_no_time_stamp(tmp_path):
    write_idx(tmp_path / "x.gz", np.zeros(3, np.uint8))
    assert (tmp_path / "x.gz").read_bytes()[4:8] == bytes(4)


def test_idx_compression_is_told_by_content(tmp_path):
    (tmp_path / "x.gz").write_bytes(header(8, 2) + b"\x05\x06")
    (tmp_path / "y").write_bytes(gzip.compress(header(8, 1) + b"\x07"))
    assert read_idx(tmp_path / "x.gz").tolist() == [5, 6]
    assert read_idx(tmp_path / "y").tolist() == [7]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "ends after 0 of the 4 bytes of its magic number"),
        (b"\0\0\x08", "ends after 3 of the 4 bytes"),
        (b"PK\x03\x04....", "the magic number is 50 4b 03 04"),
        (b"\0\0\x0a\x01\0\0\0\x01a", "the magic number is 00 00 0a 01"),
        (b"\0\0\x08\x05" + b"\0\0\0\x01" * 5 + b"a", "1 to 4 axes"),
        (b"\0\0\x08\x00a", "1 to 4 axes"),
        (b"\0\0\x08\x02\0\0\0\x01\0\0", "ends after 6 of the 8 bytes of its shape"),
        (header(8, 3) + b"ab", r"\(3,\) uint8, 3 bytes, but only 2 follow"),
        (header(8, 3) + b"abcd", "but more bytes follow"),
        (header(0x0D, 2) + b"abcd", r"\(2,\) float32, 8 bytes, but only 4 follow"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_idx_refuses_wrong_content(tmp_path, data, text, pack):
    refused(tmp_path / "x", pack(data), text)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_idx_refuses_damaged_compression(tmp_path, pack):
    whole = pack(header(8, 400) + bytes(range(200)) * 2)
    refused(tmp_path / "x", whole[:-3], "damaged compression")
    refused(tmp_path / "x", whole + b"more", "damaged compression")
    refused(tmp_path / "x", whole[:-8] + bytes(8), "damaged compression")  # the CRC of gzip, the footer of xz


def test_idx_missing_file_is_an_os_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")


def peak_while_refused(path, data, text, **options):
    """Return the bytes that reading needed at most, the decoder's own buffers (8 MiB for xz) included."""
    tracemalloc.start()
    refused(path, data, text, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_idx_false_header_allocates_nothing(tmp_path, pack):
    half_gigabyte = pack(header(0x0E, 2**26) + b"few")
    assert peak_while_refused(tmp_path / "x", half_gigabyte, "536870912 bytes, but only 3 follow") < 16 << 20
    enormous = pack(header(0x0E, *[2**32 - 1] * 4) + b"few")
    assert peak_while_refused(tmp_path / "x", enormous, "more than the limit of 1073741824") < 16 << 20


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_idx_decompression_bomb_is_bounded(tmp_path, pack):
    bomb = pack(header(8, 100) + bytes(32 << 20))
    assert peak_while_refused(tmp_path / "x", bomb, "but more bytes follow") < 16 << 20
    honest = pack(header(8, 32 << 20) + bytes(32 << 20))
    text = r"more than the limit of 1000 \(max_bytes=\)"
    assert peak_while_refused(tmp_path / "x", honest, text, max_bytes=1000) < 16 << 20


def test_idx_xz_that_asks_for_much_memory_is_refused(tmp_path):
    greedy = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    data = lzma.compress(header(8, 1) + b"a", filters=greedy)
    refused(tmp_path / "x", data, "Memory usage limit exceeded")


@functools.cache
def whole_file(suffix):
    array = np.arange(60, dtype=">i4").reshape(3, 4, 5)
    data = header(0x0C, 3, 4, 5) + array.tobytes()
    return {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](data)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(SUFFIXES),
    cut=st.none() | st.integers(0, 300),
    edits=st.lists(st.tuples(st.integers(0, 250), st.integers(1, 255)), max_size=3),
    tail=st.binary(max_size=3),
)
def test_idx_mutated_files_are_refused_or_consistent(tmp_path_factory, suffix, cut, edits, tail):
    path = tmp_path_factory.getbasetemp() / f"mutant{suffix}"
    data = bytearray(whole_file(suffix))
    for place, flip in edits:
        data[place % len(data)] ^= flip
    path.write_bytes(bytes(data[:cut]) + tail)
    try:
        array = read_idx(path, max_bytes=1 << 20)
    except FormatError as error:
        assert str(path) in str(error)
        return
    assert array.dtype in [np.dtype(dtype) for dtype in DTYPES]
    assert array.nbytes <= 1 << 20
    if not suffix:
        assert path.stat().st_size == 4 + 4 * array.ndim + array.nbytes


def test_idx_xz_notices_every_flipped_bit_position(tmp_path):
    write_idx(tmp_path / "x.xz", np.arange(30, dtype=np.uint8))
    whole = (tmp_path / "x.xz").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "x.xz").write_bytes(damaged)
        with pytest.raises(FormatError):
            read_idx(tmp_path / "x.xz")


def test_idx_write_refuses_what_the_format_cannot_hold(tmp_path):
    with pytest.raises(DTypeError, match="float32, float64, got int64"):
        write_idx(tmp_path / "x", np.zeros(3, np.int64))
    for shape in ((), (1,) * 5):
        with pytest.raises(ShapeError, match=f"expected 1 to 4 axes, got {len(shape)}"):
            write_idx(tmp_path / "x", np.zeros(shape, np.uint8))
    assert not list(tmp_path.iterdir())


def test_idx_write_is_atomic(tmp_path, monkeypatch):
    write_idx(tmp_path / "x", np.zeros(3, np.uint8))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_idx(tmp_path / "x", np.ones(3, np.uint8))
    assert read_idx(tmp_path / "x").tolist() == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_idx_reads_large_data_in_pieces(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(idx, "_CHUNK", 7)
    array = rng.integers(0, 255, (11, 13)).astype(np.uint8)
    for suffix in SUFFIXES:
        write_idx(tmp_path / f"x{suffix}", array)
        np.testing.assert_array_equal(read_idx(tmp_path / f"x{suffix}"), array)
