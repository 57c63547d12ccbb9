"""Judges mutants, one forked child each: `python -m tests.full.forkserver` answers lines of JSON on its standard input.

The parent has imported everything and computed all reference results, so that a child only compiles and runs.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from gpunet import backend, emulator
from gpunet.backend import kernels
from gpunet.emulator import build
from gpunet.errors import KernelError
from tests.full import checks

# Seconds of CPU that one check may take, some ten times what it takes with the right kernel: endless loops end here.
CPU_SECONDS = 6.0
SLOWER = {"race": 10, "asan": 10}  # times as long
# A check that neither ends nor computes shows a fault of this machinery.
SECONDS = 900.0

_compiled: set[Path] = set()  # from a mutant, of no further use
_killers: dict[tuple[str, str], list[int]] = {}  # by file and function: the subjects that killed, the last one first


class _NotCompiled(Exception):
    """The mutated text does not compile: no mutant."""


class _Found(Exception):
    """The check of a subject failed."""

    def __init__(self, subject: int, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.subject = subject


class ForkServer:
    """A process that judges mutants one after another.

    Args:
        mode: "fast" for all stages but asan, "asan" for that one.
        cpu_seconds: how long a check may compute.
    """

    def __init__(self, mode: str, cpu_seconds: float = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        environment = {**os.environ, **(emulator.asan_environment() if mode == "asan" else {})}
        environment |= {"GPUNET_EMULATOR_WORKERS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.full.forkserver"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def judge(
        self, texts: dict[str, str], subjects: list[int], stages: Sequence[str], changed: str = "", where: str = ""
    ) -> dict[str, str]:
        """Return {"verdict": ..., "stage": ..., "detail": ...} of kernels with other texts.

        Args:
            texts: of files in kernels/, by name.
            subjects: numbers of checks.SUBJECTS.
            stages: some of checks.STAGES.
            changed: the file that differs from the original, if one does.
            where: the function or struct in which it differs.

        Returns:
            The verdict is "survived", "killed", "stillborn" (does not compile), "identical" (compiles to the machine
            code of the original), or "broken": a fault of this machinery.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"texts": texts, "subjects": subjects, "stages": stages, "changed": changed}
        request |= {"where": where, "cpu_seconds": self._cpu_seconds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the fork server ended; what it wrote stands above")
        result: dict[str, str] = json.loads(answer)
        return result

    def close(self) -> None:
        with self._process:  # closes both pipes
            self._process.kill()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        checks.prepare(request["subjects"], request["stages"], request["where"])
        result = _judge(request)
        _remember(request, result.pop("killer", None))
        print(json.dumps(result), file=answers, flush=True)


def _remember(request: dict[str, Any], killer: int | None) -> None:
    """What kills one mutant of a function soon kills most of the others."""
    known = _killers.setdefault((request["changed"], request["where"]), [])
    if killer is not None:
        known[:] = [killer, *(number for number in known if number != killer)]


@functools.cache
def _original_code(file: str) -> list[str]:
    return list(checks.machine_code(file))


def _judge(request: dict[str, Any]) -> dict[str, str]:
    """Fork a child for a request; what it reports, or how it ended."""
    if request["changed"]:
        _original_code(request["changed"])
    with tempfile.TemporaryDirectory(prefix="gpunet-mutant-") as folder:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            _run(request, Path(folder, "kernels"), os.fdopen(writing, "w"))
        os.close(writing)
        report = {}
        with os.fdopen(reading) as reports:
            for line in reports:
                report = json.loads(line)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if "verdict" in report:
        return report
    if status == -signal.SIGALRM or not report:
        return {"verdict": "broken", "detail": f"the child ended with {status}", **report}
    detail = "timeout" if status == -signal.SIGVTALRM else f"the process ended with {status}"
    return {"verdict": "killed", "detail": detail, **report}


def _run(request: dict[str, Any], folder: Path, reports: IO[str]) -> NoReturn:
    """Be the child: run all checks, report, end."""
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        verdict, detail, killer = "survived", "", {}
        _use(request["texts"], folder)
        for stage in request["stages"]:
            print(json.dumps({"stage": stage}), file=reports, flush=True)
            killers = _killers.get((request["changed"], request["where"]), ())
            _pass(
                checks.checks(stage, request["subjects"], request["where"], killers),
                request["cpu_seconds"] * SLOWER.get(stage, 1),
            )
            if stage == "values" and _is_identical(request["changed"]):
                verdict = "identical"
                break
    except _NotCompiled as error:
        verdict, detail = "stillborn", str(error)
    except _Found as error:
        verdict, detail, killer = "killed", str(error), {"killer": error.subject}
    except BaseException:
        verdict, detail = "broken", traceback.format_exc()
    for library in _compiled:
        library.unlink(missing_ok=True)
    print(json.dumps({"verdict": verdict, "stage": stage, "detail": detail, **killer}), file=reports, flush=True)
    os._exit(0)


def _use(texts: dict[str, str], folder: Path) -> None:
    """Let this process compile its kernels from a copy of the sources, in which some have another text."""
    shutil.copytree(kernels.kernel_dir(), folder)
    for file, text in texts.items():
        (folder / file).write_text(text)
    originals = {kernels.load(name).text for name in kernels.kernel_files()}
    kernels.kernel_dir = lambda: folder
    kernels.load.cache_clear()
    backend.get.cache_clear()
    compiled = build.library

    def library(text: str, *args: Any) -> tuple[Path, Path]:
        try:
            made, runtime = compiled(text, *args)
        except KernelError as error:
            raise _NotCompiled(str(error)) from None
        if text not in originals:
            _compiled.add(made)
        return made, runtime

    build.library = library


def _pass(steps: Iterable[checks.Check], cpu_seconds: float) -> None:
    """Run the checks of a stage. A signal, which g++ does not inherit, ends a process that takes too long.

    Whatever a check raises is the kernel's fault, since it passes with the original: a kernel that writes where it must
    not can make Python raise anything. Only the operating system's refusals are not.
    """
    for subject, check in steps:
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            check()
        except (_NotCompiled, OSError):
            raise
        except Exception as error:
            raise _Found(subject, error) from None
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _is_identical(changed: str) -> bool:
    """Whether all variants compile to what the original compiles to: then nothing has been changed."""
    return bool(changed) and all(map(operator.eq, checks.machine_code(changed), _original_code(changed)))


if __name__ == "__main__":
    main()
