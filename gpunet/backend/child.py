"""Runs a module in a child process under one of the emulator's checks, and puts what ended it into words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from gpunet import emulator
from gpunet.emulator import build
from gpunet.errors import KernelError

__all__ = ["BANKS", "MODES", "answers", "run_in_child", "sanitizer_finding"]

# What is checked, and the emulator's mode that does it:
#   race        two threads that meet in memory without a barrier between them, barriers that some threads skip
#   bounds      accesses outside of the arrays and of shared memory, undefined arithmetic
#   schedules   results that depend on the order in which threads and blocks run; deadlocks
MODES = {"race": "race", "bounds": "asan", "schedules": "fast"}
# What is counted besides: slow, but not wrong.
BANKS = "banks"
_EMULATOR_MODES = {**MODES, BANKS: "banks"}


def run_in_child(module: str, job: Mapping[str, Any], mode: str) -> tuple[list[dict[str, Any]], str | None]:
    """Run `python -m module` with a job on its standard input, prepared for a mode.

    Returns:
        The lines of JSON that the child wrote, and what ended it, in words: a sanitizer, a signal or its own clock
        (`faulthandler.dump_traceback_later`); None where it went to its end.

    Raises:
        KernelError: the child failed for another reason.
    """
    environment = {**os.environ, "GPUNET_EMULATOR_MODE": _EMULATOR_MODES[mode], "OPENBLAS_NUM_THREADS": "1"}
    environment["GPUNET_CACHE_DIR"] = str(build.cache_directory().parent)  # the temporary one, too, where there is one
    if _EMULATOR_MODES[mode] == "asan":
        environment |= emulator.asan_environment()
    package = str(Path(__file__).resolve().parent.parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", module]
    result = subprocess.run(command, input=json.dumps(job), env=environment, capture_output=True, text=True)
    written = [json.loads(line) for line in result.stdout.splitlines()]
    if result.returncode == 0:
        return written, None
    arrays = [line["arrays"] for line in written if "arrays" in line]
    ended = sanitizer_finding(result.stderr, arrays[-1] if arrays else {})
    if ended is None and result.stderr.startswith("Timeout ("):
        ended = "it did not end in time: threads wait for each other, or there are too many"
    if ended is None and result.returncode < 0:
        name = signal.Signals(-result.returncode).name
        ended = f"the process was ended by {name}, as by an access far outside of the arrays"
    if ended is None:
        raise KernelError(f"the {mode} check failed: {result.stderr.strip()[-2000:]}")
    return written, ended


def answers() -> TextIO:
    """Return, in a child, where its lines of JSON go. What kernels print goes nowhere: it would stand between them."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return lines


# Paths may have spaces; before one stands a name of C, or a function of C++ with its parameters.
_FRAME = re.compile(r"^ *#\d+ 0x\w+ in (?:.*\)(?: const)?|\w+) (.+?\.\w+):(\d+)", re.MULTILINE)
_OWN_HEADERS = tuple(f"emulator/{name}" for name in build.HEADERS)
_REGION = re.compile(r"is located (\d+) bytes (.*?) (?:a )?(\d+)-byte region \[(0x\w+),")
_UNDEFINED = re.compile(r"^(.+?):(\d+):\d+: runtime error: (.*)$", re.MULTILINE)


def sanitizer_finding(report: str, arrays: Mapping[str, int]) -> str | None:
    """Return in one line what a sanitizer reports, with file and line, or None where it reports nothing.

    Args:
        report: what the process wrote to standard error.
        arrays: addresses of arrays by name.
    """
    if undefined := _UNDEFINED.search(report):
        return f"{undefined[3]} at {os.path.basename(undefined[1])}:{undefined[2]}"
    error = re.search(r"ERROR: AddressSanitizer: ([\w-]+)", report)
    if error is None:
        return None
    access = re.search(r"^(READ|WRITE) of size (\d+)|caused by a (READ|WRITE)", report, re.MULTILINE)
    words = error[1]
    if access:
        words += f": {(access[1] or access[3]).lower()}" + (f" of {access[2]} bytes" if access[2] else "")
    if region := _REGION.search(report):
        name = next((name for name, address in arrays.items() if address == int(region[4], 16)), "shared memory")
        side = {"to the right of": "after the end of", "to the left of": "before", "after": "after the end of"}
        words += f", {region[1]} bytes {side.get(region[2], region[2])} {name} ({region[3]} bytes)"
    for path, line in _FRAME.findall(report):
        if path.endswith((".cu", ".cuh", ".h", ".hpp")) and not path.endswith(_OWN_HEADERS):
            return f"{words} at {os.path.basename(path)}:{line}"
    return words
