"""What kernels do to shared memory, and which of it runs into bank conflicts."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from gpunet.emulator import build
from gpunet.emulator.settings import configure

__all__ = ["CSharedAccess", "SharedAccess", "record", "watch_banks"]

_KINDS = ("read", "write", "atomic")


@dataclasses.dataclass(frozen=True)
class SharedAccess:
    """What the warps of a kernel did in one line of its text to shared memory.

    Attributes:
        kernel: its name.
        where: the line: 'file.cu:12'; in a function that is inlined 'helper.cuh:3 from file.cu:12'.
        kind: 'read', 'write' or 'atomic'.
        size: bytes that each lane takes at once.
        accesses: by a warp each.
        phases: in which they go, of at most 128 bytes each: so many wavefronts are needed without conflicts.
        wavefronts: that they take.
        worst: the most wavefronts of a phase: 2 is called a 2-way conflict.
    """

    kernel: str
    where: str
    kind: str
    size: int
    accesses: int
    phases: int
    wavefronts: int
    worst: int

    @property
    def conflicts(self) -> int:
        """Wavefronts too many."""
        return self.wavefronts - self.phases

    def __str__(self) -> str:
        verdict = f"no bank conflicts ({self.wavefronts} wavefronts)"
        if self.conflicts:
            verdict = f"{self.worst}-way bank conflicts ({self.wavefronts} wavefronts instead of {self.phases})"
        return f"{self.kernel}: {self.kind} of {self.size} bytes{f' at {self.where}' if self.where else ''}: {verdict}"


class CSharedAccess(ctypes.Structure):
    """The same at one address of the code, as the runtime tells it (runtime.h)."""

    _fields_ = [
        ("site", ctypes.c_void_p),
        ("size", ctypes.c_int),
        ("kind", ctypes.c_int),
        ("accesses", ctypes.c_int64),
        ("phases", ctypes.c_int64),
        ("wavefronts", ctypes.c_int64),
        ("worst", ctypes.c_int),
    ]


class _Watch:
    """Sums of all launches: [accesses, phases, wavefronts, worst] by kernel, library, offset in it, kind and size."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, Path, int, int, int], list[int]] = {}

    def by_line(self) -> list[SharedAccess]:
        """Return the same by line, in the order of the code."""
        offsets: dict[Path, list[int]] = {}
        for _, library, offset, *_ in self.sums:
            offsets.setdefault(library, []).append(offset)
        places = {
            (library, offset): place
            for library, found in offsets.items()
            for offset, place in zip(found, build.source_lines(library, found), strict=True)
        }
        lines: dict[tuple[str, str, str, int], list[int]] = {}
        for (kernel, library, offset, kind, size), sums in sorted(self.sums.items()):
            _add(lines.setdefault((kernel, places[library, offset], _KINDS[kind], size), [0, 0, 0, 0]), sums)
        return [SharedAccess(*line, *sums) for line, sums in lines.items()]


def _add(sums: list[int], more: list[int]) -> None:
    sums[:3] = [a + b for a, b in zip(sums[:3], more[:3], strict=True)]
    sums[3] = max(sums[3], more[3])


_watching: ContextVar[_Watch | None] = ContextVar("gpunet_emulator_banks", default=None)


@contextmanager
def watch_banks() -> Iterator[list[SharedAccess]]:
    """Run kernels in mode 'banks' within a `with` block; the list that it gives is filled when the block ends.

    A warp's access is what its lanes do at one place in the code, each for the k-th time since the warp last met at a
    barrier, shuffle or other collective. So where lanes skip turns of a loop, later turns are compared with earlier
    ones. Accesses are those of the text; the GPU's compiler may join neighbours to wider ones. A RawModule must be
    made within the block.

    Example:
        >>> from gpunet.emulator import RawModule
        >>> code = '''extern "C" __global__ void transpose(float* y) {
        ...     __shared__ float tile[32][32];
        ...     for (int i = 0; i < 32; ++i) tile[i][threadIdx.x] = i;
        ...     __syncthreads();
        ...     for (int i = 0; i < 32; ++i) y[i * 32 + threadIdx.x] = tile[threadIdx.x][i];
        ... }'''
        >>> with watch_banks() as accesses:
        ...     RawModule(code=code, name="t.cu").get_function("transpose")((1,), (32,), (np.empty(1024, np.float32),))
        >>> for access in accesses:
        ...     print(access)
        transpose: write of 4 bytes at t.cu:3: no bank conflicts (32 wavefronts)
        transpose: read of 4 bytes at t.cu:5: 32-way bank conflicts (1024 wavefronts instead of 32)
    """
    watch, found = _Watch(), list[SharedAccess]()
    token = _watching.set(watch)
    try:
        with configure(mode="banks"):
            yield found
    finally:
        _watching.reset(token)
        found.extend(watch.by_line())


def record(kernel: str, library: Path, offset_of: Callable[[int], int], find: Callable[[int], CSharedAccess]) -> None:
    """Add what the last launch did to the innermost watch.

    Args:
        kernel: its name.
        library: that it is in.
        offset_of: from an address of its code to the offset in the library.
        find: number i of what it did, or a null pointer.
    """
    watch = _watching.get()
    number = 0
    while watch is not None and (access := find(number)):
        seen = access.contents
        key = (kernel, library, offset_of(seen.site), seen.kind, seen.size)
        _add(watch.sums.setdefault(key, [0, 0, 0, 0]), [seen.accesses, seen.phases, seen.wavefronts, seen.worst])
        number += 1
