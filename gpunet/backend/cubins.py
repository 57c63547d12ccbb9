"""Machine code of kernels that `gpunet warmup` compiled ahead, in a folder that processes share.

A file's name tells the kernel file and the architecture, then a key of all else that decides the code (text, macros,
options, version of NVRTC), then a digest of the code itself: what is stale is never found, and damage is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from gpunet.backend import nvrtc
from gpunet.backend.files import open_atomic
from gpunet.backend.kernels import Source
from gpunet.emulator import build

__all__ = ["find", "folder", "store"]


def folder() -> Path | None:
    """Return where the machine code lies: cubins beside the emulator's cache; None where a user has no home."""
    return build.wanted_cache(os.environ, "cubins")


def _name(source: Source, defines: Mapping[str, str], arch: int, version: str) -> str:
    """Return the beginning of a file's name."""
    decisive = [source.text, sorted(defines.items()), nvrtc.OPTIONS, version]
    key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:24]
    return f"{Path(source.file).stem}-sm_{arch}-{key}-"


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()[:24]


def find(source: Source, defines: Mapping[str, str], arch: int, version: str) -> Path | None:
    """Return the file with the code of one variant of a kernel file for one architecture, or None.

    Args:
        source: from `kernels.load`.
        defines: values of the file's macros.
        arch: compute capability times ten.
        version: of the NVRTC that would compile it now, such as "12.9".
    """
    where, name = folder(), _name(source, defines, arch, version)
    for path in sorted(where.glob(f"{name}*.cubin")) if where else ():
        try:
            if path.name == f"{name}{_digest(path.read_bytes())}.cubin":
                return path
            reason = "it was changed"
        except OSError as error:
            reason = str(error.strerror)
        warnings.warn(f"{path} is not used: {reason}; gpunet warmup makes a new one", stacklevel=2)
    return None


def store(source: Source, defines: Mapping[str, str], arch: int, version: str, code: bytes) -> Path:
    """Write the code of one variant, in one step; the folder must be there.

    Raises:
        OSError: the file cannot be written.
    """
    where, name = folder(), _name(source, defines, arch, version)
    if where is None:
        raise FileNotFoundError("there is no home folder\n  hint: set GPUNET_CACHE_DIR")
    path = where / f"{name}{_digest(code)}.cubin"
    with open_atomic(path) as file:
        file.write(code)
    for damaged in set(where.glob(f"{name}*.cubin")) - {path}:
        damaged.unlink(missing_ok=True)
    return path
