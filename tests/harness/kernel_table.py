"""The table kernel x mode: which kernels passed their cases in which mode. A missing row fails a whole run.

Each test that proves a mode reports the kernels that it launched; the asan child process writes them to a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gpunet.backend import kernels

MODES = ("fast", "race", "asan", "nvrtc")
_passed: dict[str, set[str]] = {mode: set() for mode in MODES}
_expected: set[str] = set()  # modes whose tests were run as a whole


def passed(mode: str, names: Iterable[str]) -> None:
    _passed[mode].update(names)


def expect(mode: str) -> None:
    """Say that all cases of a mode were run, so that a kernel missing there is an error."""
    _expected.add(mode)


def all_kernels() -> list[str]:
    return [name for file in kernels.kernel_files() for name in kernels.load(file).kernels]


def incomplete() -> list[tuple[str, str]]:
    return [(name, mode) for name in all_kernels() for mode in sorted(_expected) if name not in _passed[mode]]


def lines() -> Iterator[str]:
    if not _expected:
        return
    yield f"{'kernel':28}" + "".join(f"{mode:>8}" for mode in MODES)
    for name in all_kernels():
        cells = ("PASS" if name in _passed[mode] else "MISSING" if mode in _expected else "-" for mode in MODES)
        yield f"{name:28}" + "".join(f"{cell:>8}" for cell in cells)
