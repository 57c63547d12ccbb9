"""NumPy's OpenBLAS: where it is, what it says of itself, and how many threads it takes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import glob
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["OpenBLAS", "find"]


class OpenBLAS:
    """NumPy's own OpenBLAS, reached through ctypes."""

    def __init__(self, path: str) -> None:
        self.path = path
        library = ctypes.CDLL(path)
        for prefix, suffix in itertools.product(("scipy_openblas", "openblas"), ("64_", "_64", "")):
            if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
                break
        else:
            raise OSError(f"{path} has no openblas_set_num_threads")
        self.set: Any = getattr(library, f"{prefix}_set_num_threads{suffix}")
        self.get: Any = getattr(library, f"{prefix}_get_num_threads{suffix}")
        self.set.argtypes, self.set.restype = (ctypes.c_int,), None
        self.get.argtypes, self.get.restype = (), ctypes.c_int
        config = getattr(library, f"{prefix}_get_config{suffix}")
        core = getattr(library, f"{prefix}_get_corename{suffix}")
        config.restype = core.restype = ctypes.c_char_p
        self.config, self.core = config().decode(), core().decode()


@functools.cache
def find() -> OpenBLAS | None:
    """Find the OpenBLAS that NumPy loaded, or None where NumPy uses another BLAS."""
    package = Path(np.__file__).parent
    candidates = [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")]
    paths = [str(path) for path in candidates]
    if os.path.exists("/proc/self/maps"):
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths += sorted({line.split()[-1] for line in maps if "openblas" in line.rpartition("/")[2]})
    paths += glob.glob(str(package.parent / "numpy.libs" / "*openblas*.dll"))
    for path in paths:
        with contextlib.suppress(OSError, AttributeError):
            return OpenBLAS(path)
    return None
