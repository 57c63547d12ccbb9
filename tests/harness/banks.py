"""Which accesses of a kernel to shared memory run into bank conflicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gpunet import emulator
from gpunet.backend import kernels


def bank_conflicts(call: Callable[[], object], kernel: str, allowed: Sequence[str] = ()) -> list[str]:
    """Run something on the emulator; return in words the accesses of a kernel that have conflicts.

    Args:
        call: launches the kernel, and perhaps others.
        kernel: its name; it must use shared memory.
        allowed: parts of lines in kernels/ whose accesses may have conflicts, together with what they inline.
    """
    with emulator.watch_banks() as accesses:
        call()
    own = [access for access in accesses if access.kernel == kernel]
    assert own, f"{kernel} was not launched, or uses no shared memory"
    return [str(a) for a in own if a.conflicts and not any(part in line for part in allowed for line in _text(a.where))]


def _text(where: str) -> list[str]:
    """Return the lines of kernels/ that a place names, from the innermost out."""
    places = [re.fullmatch(r"(.+):(\d+)", place) for place in where.split(" from ")]
    return [
        (kernels.kernel_dir() / place[1]).read_text(encoding="utf-8").splitlines()[int(place[2]) - 1]
        for place in places
        if place
    ]
