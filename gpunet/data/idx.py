"""The idx format of MNIST: a four-byte magic number, big-endian sizes, then the elements.

    bytes 0-1  zero        byte 2  dtype code        byte 3  number of axes        then one uint32 per axis

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "file formats".
"""

from __future__ import annotations

import gzip
import lzma
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from gpunet.backend.files import open_atomic
from gpunet.errors import DTypeError, FormatError, ShapeError, layout_message

__all__ = ["read_idx", "write_idx"]

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_MAX_AXES = 4
_CHUNK = 1 << 20
_GZIP_MAGIC, _XZ_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\x00"
_XZ_MEMORY = 128 << 20  # twice what xz -9 needs


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 1 << 30) -> npt.NDArray[Any]:
    """Read an idx file, plain or compressed by gzip or xz (told by its first bytes), and check all of it.

    Args:
        path: the file.
        max_bytes: the largest size in bytes that the array may have.
    Returns:
        An array of up to four axes, in native byte order, that owns its memory.
    Raises:
        FormatError: wrong magic number, dtype code or number of axes; missing or left-over bytes; damaged
            compression; an array larger than `max_bytes`. The message names the file and the reason.
        OSError: the file cannot be opened or read.
    Memory: what the file really holds, never what its header only claims.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels.gz"
    >>> write_idx(path, np.array([5, 0, 4], np.uint8))
    >>> read_idx(path).tolist()
    [5, 0, 4]
    """
    with open(path, "rb") as raw:
        try:
            return _read_array(_decompressed(raw), max_bytes)
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise _damaged(path, f"damaged compression: {error}") from error
        except _BadIdxError as error:
            raise _damaged(path, str(error)) from None


def write_idx(path: str | os.PathLike[str], array: npt.NDArray[Any]) -> None:
    """Write an array as an idx file, compressed if the name ends in .gz or .xz; equal arrays, equal bytes.

    Args:
        path: the file; it is replaced as a whole or not at all.
        array: one to four axes of uint8, int8, int16, int32, float32 or float64.
    Raises:
        DTypeError: the format has no such dtype.
        ShapeError: no axis, or more than four.
        OSError: the file cannot be written; an old file is intact.

    >>> import tempfile
    >>> write_idx(Path(tempfile.mkdtemp()) / "x", np.zeros((2, 3), np.float32))
    """
    codes = {dtype.newbyteorder("="): code for code, dtype in _DTYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        raise DTypeError(
            layout_message(
                "write_idx",
                "the format cannot hold this dtype.",
                expected=f"{', '.join(map(str, codes))}, got {array.dtype}",
                hint="convert with array.astype.",
            )
        )
    if not 1 <= array.ndim <= _MAX_AXES:
        raise ShapeError(
            layout_message(
                "write_idx",
                "the format cannot hold this shape.",
                expected=f"1 to {_MAX_AXES} axes, got {array.ndim}",
            )
        )
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    data = header + array.astype(_DTYPES[code]).tobytes()
    suffix = Path(path).suffix
    if suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif suffix == ".xz":
        data = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    with open_atomic(path) as file:
        file.write(data)


class _BadIdxError(Exception):
    """What is wrong with the content; `read_idx` adds the file's name."""


class _XzReader:
    """Reads xz like a file, with a limit on the memory that the file's header asks for."""

    def __init__(self, raw: BinaryIO) -> None:
        self._input = raw.read()
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        data = b""
        while len(data) < size and not self._decoder.eof:
            data += self._decoder.decompress(self._input, max_length=size - len(data))
            self._input = b""
            if self._decoder.needs_input:
                raise EOFError("the compressed data end too early")
        if self._decoder.unused_data:
            raise EOFError("more bytes follow the compressed data")
        return data


def _decompressed(raw: BinaryIO) -> BinaryIO | gzip.GzipFile | _XzReader:
    """Choose by the first bytes; idx itself starts with two zeros."""
    start = raw.read(len(_XZ_MAGIC))
    raw.seek(0)
    if start.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=raw)
    if start == _XZ_MAGIC:
        return _XzReader(raw)
    return raw


def _read_array(stream: Any, max_bytes: int) -> npt.NDArray[Any]:
    """Check the header, then read the elements it announces and not one byte more."""
    magic = stream.read(4)
    if len(magic) < 4:
        raise _BadIdxError(f"the file ends after {len(magic)} of the 4 bytes of its magic number")
    zeros, code, axes = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0" or code not in _DTYPES or not 1 <= axes <= _MAX_AXES:
        raise _BadIdxError(
            f"the magic number is {magic.hex(' ')}, not 00 00, a dtype code (08 09 0b 0c 0d 0e) and 1 to 4 axes"
        )
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise _BadIdxError(f"the file ends after {len(sizes)} of the {4 * axes} bytes of its shape")
    shape = struct.unpack(f">{axes}I", sizes)
    dtype = _DTYPES[code]
    expected = math.prod(shape) * dtype.itemsize
    claim = f"the header says {shape} {dtype.newbyteorder('=')}, {expected} bytes"
    if expected > max_bytes:
        raise _BadIdxError(f"{claim}, more than the limit of {max_bytes} (max_bytes=)")
    data = _read_at_most(stream, expected + 1)
    if len(data) > expected:
        raise _BadIdxError(f"{claim}, but more bytes follow")
    if len(data) < expected:
        raise _BadIdxError(f"{claim}, but only {len(data)} follow")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(stream: Any, limit: int) -> bytearray:
    """Read up to `limit` bytes; memory grows with what arrives."""
    data = bytearray()
    while len(data) < limit:
        piece = stream.read(min(_CHUNK, limit - len(data)))
        if not piece:
            break
        data += piece
    return data


def _damaged(path: str | os.PathLike[str], reason: str) -> FormatError:
    return FormatError(layout_message("read_idx", f"{os.fspath(path)} is not a valid idx file.", inputs=[reason]))
