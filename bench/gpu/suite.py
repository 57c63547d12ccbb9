"""Runs the tests of the GPU in processes of their own: pytest, then some of them under compute-sanitizer."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from bench.gpu.progress import progress

ROOT = Path(__file__).resolve().parents[2]
_TEST = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
_COLLECTION = re.compile(r"^ERROR (\S+)(?: - .*)?$")
_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_SELECTED = re.compile(r"\bcollected (\d+) items?(?:.*/ (\d+) selected)?")

# A test that fails says so at once, so the output is of use even when time runs out.
PYTEST = ("-m", "pytest", "-vv", "-p", "no:cacheprovider", "--continue-on-collection-errors")

# Memory without CuPy's pool, or the sanitizer takes what lies behind an array for a part of it.
SANITIZED = (
    "import sys, cupy, pytest; cupy.cuda.set_allocator(None); "
    "sys.exit(pytest.main(['-vv', '-p', 'no:cacheprovider', *sys.argv[1:]]))"
)
FINDINGS = 97  # the exit code that we ask compute-sanitizer for


@dataclass
class Tested:
    """What came of a command: its exit code, None when time ran out, and what each test said.

    Files that could not be imported are in `broken`, and the packages that were missing in `missing`.
    """

    code: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    selected: int = 0

    @property
    def done(self) -> int:
        """How many tests ran."""
        return sum(self.counts.values())

    def __str__(self) -> str:
        said = ", ".join(f"{count} {word.lower()}" for word, count in sorted(self.counts.items()))
        return f"{self.done} of {self.selected} tests: {said or 'none ran'}"


def run(command: Sequence[str], output: Path, environment: dict[str, str], seconds: float) -> Tested:
    """Run pytest, keep its output in a file, and count what it says; kill it and its children when time is over."""
    tested = Tested()
    with (
        open(output, "w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        timer = threading.Timer(max(seconds, 0.0), os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        assert process.stdout is not None
        collections.deque(progress(_tests(process.stdout, file, tested), None, "test"), maxlen=0)  # to their end
        code = process.wait()
        timer.cancel()
        tested.code = None if code == -signal.SIGKILL else code
    return tested


def _tests(lines: Iterable[str], file: TextIO, tested: Tested) -> Iterator[str]:
    """Write lines to a file, note what they say, and yield those that tell of a test."""
    for line in lines:
        file.write(line)
        before = tested.done
        _count(tested, line)
        if tested.done > before:
            yield line


def _count(tested: Tested, line: str) -> None:
    """Note what a line of `pytest -vv` says."""
    if selected := _SELECTED.search(line):
        tested.selected = int(selected[2] or selected[1])
    elif test := _TEST.match(line):
        tested.counts[test[2]] = tested.counts.get(test[2], 0) + 1
        if test[2] in ("FAILED", "ERROR"):
            tested.failed.append(test[1])
    elif missing := _MISSING.search(line):
        tested.missing.add(missing[1])
    elif (broken := _COLLECTION.match(line)) and "::" not in broken[1] and broken[1] not in tested.broken:
        tested.broken.append(broken[1])


def pytest_command(backend: str, *more: str) -> list[str]:
    """Return the command that runs a backend's tests: those whose name has the backend's."""
    return [sys.executable, *PYTEST, "--backend", backend, *more]


def sanitizer_command(path: str, tool: str, *more: str) -> list[str]:
    """Return the command that runs tests under one of compute-sanitizer's tools."""
    settings = (f"--tool={tool}", f"--error-exitcode={FINDINGS}", "--target-processes=all")
    return [path, *settings, sys.executable, "-c", SANITIZED, *more]
