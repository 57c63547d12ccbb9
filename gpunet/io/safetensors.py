"""safetensors files with a checksum over every byte.

    8 bytes: header length, little-endian      JSON header: dtypes, shapes, places, metadata      the elements

The format itself does not notice damaged elements. Here the header's metadata carry the sha256 of the whole file,
taken with 64 zeros in place of the digest, and `load_file` compares it. Other readers see an ordinary file. The
header is written here and not by the safetensors package, whose metadata change their order from run to run: equal
tensors give equal bytes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend.files import open_atomic
from gpunet.errors import DTypeError, FormatError, layout_message

__all__ = ["load_file", "save_file"]

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_CODES = {name: code for code, name in _DTYPES.items()}
_DIGEST_KEY = "gpunet.sha256"
_NO_DIGEST = "0" * 64
_MAX_HEADER = 100_000_000  # the format's own limit, in bytes


def save_file(
    tensors: Mapping[str, npt.NDArray[Any]],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays as one safetensors file, replacing an old file in one step.

    Args:
        tensors: NumPy arrays of any shape, strides and byte order; float16/32/64, bfloat16 (of ml_dtypes),
            integers and bool.
        path: the file.
        metadata: text by name; the name "gpunet.sha256" is taken by the checksum.
    Raises:
        DTypeError: something is not a NumPy array, or has a dtype that the format lacks.
        TypeError: a name, or a text of the metadata, is not a str.
        ValueError: a name that the format reserves ("__metadata__", or "gpunet.sha256" in the metadata), or a header
            above the 100 MB that readers accept.
        OSError: the file cannot be written; the message names it, and an old file is intact.
    Memory: a copy of each array that is not C-contiguous and little-endian.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "net.safetensors"
    >>> save_file({"weight": np.eye(2)[:, ::-1]}, path, {"epoch": "3"})
    >>> tensors, metadata = load_file(path)
    >>> tensors["weight"].tolist(), metadata
    ([[0.0, 1.0], [1.0, 0.0]], {'epoch': '3'})
    """
    texts = dict(metadata or {})
    _check_names(tensors, texts)
    arrays = {name: _plain(name, array) for name, array in tensors.items()}
    # Wide elements first, so that each tensor starts at a multiple of its element size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    start, places = 0, {}
    for name in names:
        array = arrays[name]
        end = start + array.nbytes
        code = _CODES[array.dtype.name]
        places[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    header = _header({_DIGEST_KEY: _NO_DIGEST, **texts}, places)
    digest = hashlib.sha256(header)
    for name in names:
        digest.update(_bytes_of(arrays[name]))
    header = header.replace(_NO_DIGEST.encode(), digest.hexdigest().encode(), 1)
    with open_atomic(path) as file:
        file.write(header)
        for name in names:
            file.write(_bytes_of(arrays[name]))


def load_file(
    path: str | os.PathLike[str], *, require_checksum: bool = True
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Read a safetensors file and verify its checksum.

    Args:
        path: the file.
        require_checksum: False accepts files of other programs, which carry none. Where there is a checksum it is
            compared in any case.
    Returns:
        The arrays by name, C-contiguous and writable, and the metadata without the checksum.
    Raises:
        FormatError: the file is damaged, truncated, no safetensors file, or without a checksum; the message
            names the file and the reason.
        DTypeError: a tensor has a dtype that NumPy lacks.
        OSError: the file does not exist or cannot be read.
    Memory: twice the file's size for a moment.
    """
    import safetensors

    data = Path(path).read_bytes()
    deserialize: Any = safetensors.deserialize
    try:
        entries = deserialize(data)
    except safetensors.SafetensorError as error:
        hint = "PyTorch's .pt files hold pickles: save there with safetensors.torch.save_file(model.state_dict(), path)"
        raise _damaged(path, str(error), hint if data.startswith(b"PK") else "") from None
    metadata = _metadata(data)
    digest = metadata.pop(_DIGEST_KEY, None)
    if digest is not None:
        _verify(path, data, digest)
    elif require_checksum:
        raise _damaged(
            path,
            "its header has no checksum",
            hint="if another program wrote it: load_file(path, require_checksum=False)",
        )
    return {name: _array(path, name, entry) for name, entry in sorted(entries)}, metadata


def _check_names(tensors: Mapping[str, Any], texts: Mapping[str, Any]) -> None:
    """Refuse names and texts that the header cannot hold."""
    for text in (*tensors, *texts, *texts.values()):
        if not isinstance(text, str):
            raise TypeError(
                layout_message(
                    "save_file",
                    "names and metadata must be text.",
                    expected=f"str, got {text!r}",
                    hint="turn values into text with str or json.dumps.",
                )
            )
    for reserved, where in (("__metadata__", tensors), (_DIGEST_KEY, texts)):
        if reserved in where:
            raise ValueError(
                layout_message("save_file", f"the name {reserved!r} is reserved.", hint="choose another name.")
            )


def _plain(name: str, array: Any) -> npt.NDArray[Any]:
    """Return the array C-contiguous and little-endian, which is what the file holds."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            layout_message(
                "save_file",
                f"{name!r} is not a NumPy array.",
                expected=f"an array in host memory, got {type(array).__module__}.{type(array).__name__}",
                hint="convert with np.asarray, cupy.asnumpy or tensor.numpy().",
            )
        )
    if array.dtype.name not in _CODES:
        raise DTypeError(
            layout_message(
                "save_file",
                f"{name!r} has a dtype that the format cannot hold.",
                expected=f"{', '.join(_CODES)}, got {array.dtype}",
                hint="convert with array.astype.",
            )
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """View the elements as bytes without a copy."""
    return array.reshape(-1).view(np.uint8).data


def _header(metadata: Mapping[str, str], places: Mapping[str, Any]) -> bytes:
    """Lay out length and header, filled up with blanks so that the elements start at a multiple of 8."""
    text = json.dumps({"__metadata__": metadata, **places}, separators=(",", ":"), ensure_ascii=False)
    header = text.encode("utf-8")
    header += b" " * (-len(header) % 8)
    if len(header) > _MAX_HEADER:
        raise ValueError(
            layout_message(
                "save_file",
                "names and metadata are too long.",
                expected=f"at most {_MAX_HEADER} bytes, which readers accept, got {len(header)}",
            )
        )
    return struct.pack("<Q", len(header)) + header


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a header that `safetensors.deserialize` has accepted."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__") or {})


def _verify(path: str | os.PathLike[str], data: bytes, digest: str) -> None:
    """Compare the digest in the header with the file's own."""
    (length,) = struct.unpack_from("<Q", data)
    blank = data[: 8 + length].replace(digest.encode(), _NO_DIGEST.encode(), 1)
    actual = hashlib.sha256(blank)
    actual.update(memoryview(data)[8 + length :])
    if actual.hexdigest() != digest:
        raise _damaged(
            path,
            f"checksum {digest[:16]}..., but its bytes give {actual.hexdigest()[:16]}...",
            hint="the file was changed after it was written: use another copy.",
        )


def _array(path: str | os.PathLike[str], name: str, entry: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Make an array of one tensor that `safetensors.deserialize` returned."""
    dtype_name = _DTYPES.get(entry["dtype"])
    if dtype_name is None:
        raise DTypeError(
            layout_message(
                "load_file",
                f"{os.fspath(path)} holds {name!r} in a dtype that gpunet does not know.",
                expected=f"{', '.join(_DTYPES)}, got {entry['dtype']}",
            )
        )
    dtype = _bfloat16(path) if dtype_name == "bfloat16" else np.dtype(dtype_name).newbyteorder("<")
    data = entry["data"]
    array = np.frombuffer(data if isinstance(data, bytearray) else bytearray(data), dtype)
    return array.astype(dtype.newbyteorder("="), copy=False).reshape(entry["shape"])


def _bfloat16(path: str | os.PathLike[str]) -> np.dtype[Any]:
    """Return NumPy's bfloat16, which comes from another package."""
    try:
        ml_dtypes: Any = importlib.import_module("ml_dtypes")
    except ImportError:
        raise DTypeError(
            layout_message(
                "load_file",
                f"{os.fspath(path)} holds bfloat16, which NumPy does not have by itself.",
                hint="pip install ml_dtypes",
            )
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def _damaged(path: str | os.PathLike[str], reason: str, hint: str = "") -> FormatError:
    problem = f"{os.fspath(path)} is not a valid safetensors file."
    return FormatError(layout_message("load_file", problem, inputs=[reason], hint=hint))
