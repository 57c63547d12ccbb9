"""Runs launches under the emulator's checks, each in a child process: a kernel that goes wild ends the child only.

See `child.MODES` for what is checked.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import emulator
from gpunet.backend import kernels, launch_text
from gpunet.backend.child import BANKS, MODES, answers, run_in_child
from gpunet.backend.emulated import compile_options
from gpunet.backend.emulated_array import check_guards, host_view, ndarray
from gpunet.backend.launch_text import Launch
from gpunet.emulator import build
from gpunet.errors import KernelError

__all__ = ["SCHEDULES", "Result", "bank_conflicts_of", "check", "cpus", "finding_of", "prebuild"]

SCHEDULES = (("forward", 0), ("reverse", 0), ("random", 1), ("random", 2), ("random", 3))


@dataclass(frozen=True)
class Result:
    """What one launch of one variant gave: per mode None, or the finding in words; and its bank conflicts in words."""

    launch: Launch
    defines: Mapping[str, str]
    findings: Mapping[str, str | None]
    bank_conflicts: Sequence[str] = ()


def check(
    source: kernels.Source,
    variants: Sequence[Mapping[str, str]],
    launches: Sequence[Launch],
    *,
    seed: int = 0,
    timeout: float = 60,
) -> list[Result]:
    """Run every launch of every variant in every mode, in parallel.

    Args:
        source: from `kernels.read`.
        variants: values of the file's macros.
        launches: from `launch_text`.
        seed: of the random contents of arrays.
        timeout: seconds that one launch in one mode may take.

    Raises:
        KernelError: the text does not compile, or a launch does not fit its kernel; nothing has run then.
    """
    prebuild([(source, defines) for defines in variants])
    for defines in variants:
        module = _module(source, defines, "fast")
        for launch in launches:
            _Run(module, source, defines, launch, seed).check()

    told = {"file": source.file, "text": source.text, "seed": seed, "timeout": timeout}
    jobs = [({**told, "defines": dict(defines)}, launches, mode) for defines in variants for mode in MODES]
    with ThreadPoolExecutor(cpus()) as pool:
        found = list(pool.map(lambda job: _findings(*job), jobs))
        conflicts = list(pool.map(lambda job: _bank_conflicts(*job[:2]), jobs[:: len(MODES)]))
    results = []
    for number, defines in enumerate(variants):
        by_mode = found[number * len(MODES) :][: len(MODES)]
        for launch, notes, *findings in zip(launches, conflicts[number], *by_mode, strict=True):
            results.append(Result(launch, defines, dict(zip(MODES, findings, strict=True)), notes))
    return results


def _findings(told: Mapping[str, Any], launches: Sequence[Launch], mode: str) -> list[str | None]:
    """Run launches one after another in child processes; a finding ends a child, which may have harmed its memory."""
    findings: list[str | None] = []
    while len(findings) < len(launches):
        rest = launches[len(findings) :]
        written, ended = _run_launches(told, rest, mode)
        done = [line["finding"] for line in written if "finding" in line]
        findings += done
        if ended is not None and not any(done):
            if len(done) == len(rest):  # it fell at the very end, so that the last launch is to blame
                findings.pop()
            findings.append(ended)
    return findings


def _bank_conflicts(told: Mapping[str, Any], launches: Sequence[Launch]) -> list[list[str]]:
    """Return the bank conflicts of each launch, in words; none from one that goes wrong, which is a finding."""
    if "__shared__" not in told["text"]:
        return [[] for _ in launches]
    written, _ = _run_launches(told, launches, BANKS)
    conflicts = [line["bank_conflicts"] for line in written if "bank_conflicts" in line]
    return conflicts + [[] for _ in launches[len(conflicts) :]]


def _run_launches(
    told: Mapping[str, Any], launches: Sequence[Launch], mode: str
) -> tuple[list[dict[str, Any]], str | None]:
    """Run launches one after another in a child process."""
    texts = [{"launch": launch.text, "where": launch.where} for launch in launches]
    return run_in_child(__name__, {**told, "mode": mode, "launches": texts}, mode)


def cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prebuild(sources: Sequence[tuple[kernels.Source, Mapping[str, str]]]) -> None:
    """Compile sources for all modes in parallel, so that the child processes find them done.

    Raises:
        KernelError: a text does not compile, or the emulator cannot run here.
    """
    jobs = [(*source, mode) for source in sources for mode in MODES.values()]
    with ThreadPoolExecutor(cpus()) as pool:
        list(pool.map(lambda mode: build.runtime(mode, build.cache_directory()), MODES.values()))
        list(pool.map(lambda job: build.library(job[0].text, job[0].file, compile_options(job[1]), job[2]), jobs))


def _module(source: kernels.Source, defines: Mapping[str, str], mode: str | None = None) -> emulator.RawModule:
    return emulator.RawModule(code=source.text, options=compile_options(defines), mode=mode, name=source.file)


class _Run:
    """One launch with its arguments in device memory.

    Raises:
        KernelError: the launch does not fit the kernel.
    """

    def __init__(
        self,
        module: emulator.RawModule,
        source: kernels.Source,
        defines: Mapping[str, str],
        launch: Launch,
        seed: int,
    ) -> None:
        if launch.kernel not in module.names:
            raise launch.error(f"there is no kernel {launch.kernel!r}.", expected=", ".join(module.names))
        self.launch = launch
        self.kernel = module.get_function(launch.kernel)
        names = [parameter.name for parameter in self.kernel.parameters]
        if missing := [name for name in names if name not in launch.arguments]:
            raise launch.error(f"the argument {', '.join(missing)} is missing.", expected=", ".join(names))
        if unknown := [name for name in launch.arguments if name not in names]:
            raise launch.error(f"{launch.kernel} has no parameter {', '.join(unknown)}.", expected=", ".join(names))
        self.arrays: dict[str, ndarray] = {}
        self.arguments: list[Any] = []
        for number, parameter in enumerate(self.kernel.parameters):
            value = launch.arguments[parameter.name]
            if parameter.kind == "struct":
                raise launch.error(
                    f"{parameter.name} is a struct, which no launch text can give.",
                    hint="launch the kernel from Python: gpunet.emulator.RawModule",
                )
            if isinstance(value, launch_text.Array):
                contents = _contents(source, defines, launch, value, np.random.default_rng([seed, number]))
                self.arrays[parameter.name] = array = ndarray(contents.shape, contents.dtype)
                host = host_view(array)
                host[...] = contents
                self.arguments.append(host)
            else:
                as_float = parameter.kind == "float" and type(value) is int
                self.arguments.append(float(value) if as_float and value is not None else value)

    def check(self) -> None:
        """Raise what the launch would refuse."""
        try:
            self.kernel.check(self.launch.grid, self.launch.block, self.arguments, self.launch.shared)
        except KernelError as error:
            raise self.launch.error(str(error)) from None

    def __call__(self) -> dict[str, npt.NDArray[Any]]:
        """Launch; return the arrays by name."""
        self.kernel(self.launch.grid, self.launch.block, self.arguments, self.launch.shared)
        for name, array in self.arrays.items():
            check_guards(f"{self.kernel.name}, argument {name}", [array])
        return {name: host_view(array) for name, array in self.arrays.items()}


_VECTOR = re.compile(r"(float|double|int|uint)([234])")


def _contents(
    source: kernels.Source,
    defines: Mapping[str, str],
    launch: Launch,
    array: launch_text.Array,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    """Return what an array holds at first: one value, or random ones; integers from 0 to 7."""
    name = defines.get(array.type, array.type)
    shape = array.shape
    if vector := _VECTOR.fullmatch(name):
        name, shape = vector[1].replace("uint", "unsigned"), (*shape, int(vector[2]))
    try:
        dtype = np.dtype(source.dtype(name, defines))
        if array.fill is not None:
            if dtype.kind in "iu" and array.fill != int(array.fill):
                raise ValueError(f"{array.fill} is no integer")
            return np.full(shape, np.array(array.fill, dtype), dtype)  # full itself wraps integers in NumPy 2.0
    except (KernelError, OverflowError, ValueError) as error:
        raise launch.error(f"{array.type}[...] cannot be made: {error}.") from None
    if dtype.kind in "biu":
        return rng.integers(0, 8, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


# The child process.


def main() -> int:
    """Run launches in one mode, as standard input says; write a line with the finding of each, up to the first."""
    job, lines = json.load(sys.stdin), answers()
    source = kernels.parse(job["file"], job["text"])
    module = _module(source, job["defines"])
    for told in job["launches"]:
        launch = launch_text.parse(told["launch"], told["where"])
        faulthandler.dump_traceback_later(job["timeout"], exit=True)

        def run(launch: Launch = launch) -> dict[str, npt.NDArray[Any]]:
            start = _Run(module, source, job["defines"], launch, job["seed"])
            ranges = {name: host_view(array).__array_interface__["data"][0] for name, array in start.arrays.items()}
            print(json.dumps({"arrays": ranges}), file=lines, flush=True)
            return start()

        if job["mode"] == BANKS:
            answer: dict[str, Any] = {"bank_conflicts": bank_conflicts_of(run)}
        else:
            answer = {"finding": finding_of(run, job["mode"])}
        print(json.dumps(answer), file=lines, flush=True)
        if answer.get("finding") is not None:
            break
    return 0


def finding_of(run: Callable[[], Mapping[str, npt.NDArray[Any]]], mode: str) -> str | None:
    """Run something under the checks that this process was started for; return what they find, or None."""
    try:
        if mode == "schedules":
            return _order_finding(run)
        run()
    except KernelError as error:
        return str(error)
    return None


def bank_conflicts_of(run: Callable[[], object]) -> list[str]:
    """Run something in a process that was started for it; return its bank conflicts in words, those up to an error."""
    with contextlib.suppress(KernelError), emulator.watch_banks() as accesses:
        run()
    return [str(access) for access in accesses if access.conflicts]


def _order_finding(run: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> str | None:
    """Run under several orders of threads; say where the bits of the results depend on it, or return None."""
    first: dict[str, npt.NDArray[Any]] = {}
    for schedule, seed in SCHEDULES:
        with emulator.configure(schedule=schedule, seed=seed, workers=1):
            results = {name: array.copy() for name, array in run().items()}
        for name, array in (results if first else {}).items():
            itemsize = array.dtype.itemsize
            pair = [a.reshape(-1).view(np.uint8).reshape(-1, itemsize) for a in (first[name], array)]
            different = np.flatnonzero((pair[0] != pair[1]).any(axis=1))
            if different.size:
                index = int(different[0])
                values = f"{first[name].flat[index]!s} in forward order and {array.flat[index]!s} in {schedule} order"
                others = f" ({different.size} elements differ)" if different.size > 1 else ""
                return f"the order of threads decides the result: {name}[{index}] is {values}{others}"
        first = first or results
    return None


if __name__ == "__main__":
    sys.exit(main())
