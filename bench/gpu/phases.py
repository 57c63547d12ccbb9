"""The phases of a run, their shares of the time, and the file that says what came of them."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import timing
from bench.gpu import plot, probe, rig, suite, table, warm
from bench.gpu.measure import Bench, catalogue
from bench.gpu.progress import of_rows
from gpunet import backend
from gpunet.backend import Device
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.io import write_json, write_text_atomic
from gpunet.ops import choices

RESULTS = suite.ROOT / "bench" / "results"
SHARES = {"probe": 0.03, "warm": 0.22, "suite": 0.28, "sanitizer": 0.1, "bench": 0.37}
WRITING = 10.0  # seconds of the budget kept for table and plot
HUNG = 60.0  # seconds after the end of its time from which a phase counts as hung, as when a kernel never ends

# What compute-sanitizer sees: a tenth to a hundredth of the speed, so the smallest cases of the kernels that share
# memory between threads.
SANITIZED = (
    "tests/test_every_op.py",
    "-k",
    "cupy and test_gradient_agrees_with_the_reference and float32 and (conv2d or linear or softmax or batch_norm)",
)
TOY_TESTS = ("tests/test_every_op.py", "-k", "emulated and relu and test_forward_agrees")
TOOLS = ("memcheck", "racecheck")


def refusal(options: argparse.Namespace) -> str | None:
    """Say what is wrong with the options, or nothing."""
    if options.budget <= 0:
        return f"--budget takes seconds above 0, got {options.budget:g}"
    if options.dry_run and options.out and options.out.resolve().is_relative_to(RESULTS.resolve()):
        return f"a dry run measures nothing, so it writes nothing into {RESULTS}"
    if (options.only or options.k) and not options.out:
        return "a part of the phases or rows needs --out DIR: bench/results holds whole runs"
    return None


class Absent(Exception):
    """A phase has nothing to work with, which is no fault: the tool is optional."""


class Run:
    """One run: what it is told, how much time is left, and what it found."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.begin, self.budget, self.dry = time.perf_counter(), options.budget, options.dry_run
        self.only, self.text = {"probe", *(options.only or SHARES)}, options.k or ""
        kind = "emulated" if self.dry else "cuda"
        if "bench" in self.only:
            catalogue(self.dry, self.text)  # a text that no row has is known before anything runs
        if reason := backend.unavailable(kind):
            hint = "" if self.dry else "\n  hint: --dry-run shows what would run, on emulated kernels"
            raise RuntimeError(f"{reason}{hint}")
        self.device = Device("emulated") if self.dry else Device("cuda", 0)
        self.backend = "emulated" if self.dry else "cupy"
        self.out = options.out or (Path(tempfile.mkdtemp(prefix="gpunet-dry-")) if self.dry else RESULTS / "gpu")
        self.out.mkdir(parents=True, exist_ok=True)
        self.where = timing.environment()
        if options.commit:
            self.where["commit"] = options.commit
        self.gpu: dict[str, Any] = {}
        self.software: dict[str, str | None] = {}
        self.phases: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []
        self.wrong: list[str] = []
        self.measured: Bench | None = None
        self.complete = False

    def all(self) -> int:
        """Run the phases, write the files, and return the exit code."""
        for name in SHARES:
            if name in self.only:
                self._phase(name, getattr(self, f"_{name}"))
            else:
                self.left_out.append(f"{name}: not asked for (--only)")
        self.complete = not self.left_out
        self._write(with_pictures=True)
        return 3 if self.wrong else 0 if self.complete else 4

    def share(self, name: str) -> float:
        """Return which part of the time is over at a phase's end, when the chosen phases share all of it."""
        chosen = [share for phase, share in SHARES.items() if phase in self.only]
        until = list(SHARES)[: list(SHARES).index(name) + 1]
        return sum(SHARES[phase] for phase in until if phase in self.only) / sum(chosen)

    def _phase(self, name: str, work: Callable[[float], str]) -> None:
        """Run one phase until its share of the time is over, and say what came of it."""
        until = self.begin + self.share(name) * (self.budget - WRITING)
        begin, wrong, left_out = time.perf_counter(), len(self.wrong), len(self.left_out)
        absent = False
        print(f"== {name}, until second {until - self.begin:.0f}", flush=True)
        watchdog = threading.Timer(max(0.0, until - begin) + HUNG, self._hung, (name,))
        watchdog.daemon = True
        watchdog.start()
        try:
            said = work(until)
        except Absent as error:
            said, absent = f"  {error}", True
        except Exception as error:  # a phase that breaks must not cost the results of the others
            said = f"broke: {type(error).__name__}: {error}"
            self.wrong.append(f"{name} {said}")
        finally:
            watchdog.cancel()
        seconds = time.perf_counter() - begin
        status = "wrong" if len(self.wrong) > wrong else "partial" if len(self.left_out) > left_out else "done"
        status = "left out" if absent else status
        self.phases[name] = {"status": status, "seconds": seconds, "said": said}
        print(f"{said}\n  {status} after {seconds:.1f} s", flush=True)
        for line in (*self.wrong[wrong:], *self.left_out[left_out:])[:20]:
            print(f"  {line}", flush=True)
        self._write()

    def _hung(self, name: str) -> None:
        """Write what there is and end the process: nothing interrupts a wait for a kernel that never ends."""
        where = f", in {self.measured.current}" if self.measured else ""
        self.wrong.append(f"{name} hung{where}")
        self.phases[name] = {"status": "hung", "seconds": time.perf_counter() - self.begin, "said": self.wrong[-1]}
        self._write()
        print(f"{self.wrong[-1]}; results until then are in {self.out}", flush=True)
        os._exit(3)

    # The phases: each works until a moment of `time.perf_counter` and returns what it has to say.

    def _probe(self, until: float) -> str:
        """Describe the machine."""
        self.gpu = {"name": "emulated"} if self.dry else probe.gpu()
        self.software = probe.software()
        lines = [f"  {key}: {value}" for key, value in self.gpu.items()]
        return "\n".join([*lines, *(f"  {key}: {value or 'missing'}" for key, value in self.software.items())])

    def _warm(self, until: float) -> str:
        """Compile all kernels."""
        be = backend.get(self.device)
        assert isinstance(be, KernelBackend)
        jobs = warm.jobs(be.arch)
        if self.dry:
            jobs = [job for job in jobs if job[0] in ("activation.cu", "copy.cu")]
        built = warm.build(self.device, jobs, until)
        self.wrong += [f"does not compile: {line}" for line in built.failed]
        self.left_out += built.left_out
        return f"  {built.done} of {len(jobs)} variants compiled"

    def _suite(self, until: float) -> str:
        """Run the tests of the GPU, or some of the emulator's."""
        if not self.software["pytest"]:
            self.left_out.append("suite: pytest is missing (pip install pytest hypothesis)")
            return "  no pytest"
        selection = TOY_TESTS if self.dry else ("tests", "-k", self.backend)
        command = suite.pytest_command(self.backend, *selection)
        tested = self._test("suite", command, "suite.txt", until)
        return f"  {tested}; tests that need no GPU are not among them; output in {self.out / 'suite.txt'}"

    def _sanitizer(self, until: float) -> str:
        """Run some tests under compute-sanitizer."""
        path = self.software["compute-sanitizer"]
        if not path or not self.software["pytest"]:
            raise Absent(f"{'pytest' if path else 'compute-sanitizer'} is not installed")
        said, begin = [], time.perf_counter()
        for number, tool in enumerate(TOOLS, start=1):
            selection = TOY_TESTS if self.dry else SANITIZED
            command = suite.sanitizer_command(path, tool, "--backend", self.backend, *selection)
            share = begin + (until - begin) * number / len(TOOLS)
            tested = self._test(f"sanitizer {tool}", command, f"sanitizer-{tool}.txt", share)
            said.append(f"  {tool}: {tested}; output in {self.out / f'sanitizer-{tool}.txt'}")
        return "\n".join(said)

    def _test(self, what: str, command: list[str], output: str, until: float) -> suite.Tested:
        environment = {**os.environ, "GPUNET_REQUIRE": self.backend}
        tested = suite.run(command, self.out / output, environment, until - time.perf_counter())
        self.wrong += [f"{what}: {name}" for name in tested.failed]
        if tested.code is None:
            self.left_out.append(f"{what}: time ran out after {tested}")
        if tested.broken and tested.missing:
            files = f"{len(tested.broken)} files, {', '.join(tested.broken)}"
            self.left_out.append(f"{what}: {files}; to run them: pip install {' '.join(sorted(tested.missing))}")
        else:
            self.wrong += [f"{what}: {file} cannot be imported" for file in tested.broken]
        if tested.code and not tested.failed and not tested.broken:
            self.wrong.append(f"{what}: exit code {tested.code}, see {self.out / output}")
        return tested

    def _bench(self, until: float) -> str:
        """Measure the roofline and all rows."""
        try:
            found = rig.dry() if self.dry else rig.gpu()
        except ImportError as error:
            self.left_out.append(f"bench: {error}; PyTorch is the peer (pip install torch)")
            return "  no peer"
        self.measured = Bench(found, self.text)
        if self.text:
            self.left_out.append(f"rows without {self.text!r} in their names: not asked for (-k)")
        try:
            self.measured.run(until, of_rows, self._write)
        finally:
            self.gpu["after bench"] = probe.smi()  # a hot GPU has lower clocks
            self.left_out += self.measured.left_out
            self.wrong += self.measured.wrong
        rows = sum(result.extra["contestant"] == "gpunet" for result in self.measured.results)
        return f"  {rows} rows, {len(self.measured.results)} results"

    # The file.

    def _write(self, with_pictures: bool = False) -> None:
        """Write the result file, and at the end the table and the plot, each whole or not at all."""
        head = {
            "dry_run": self.dry,
            "complete": self.complete,
            "gpu": self.gpu,
            "software": self.software,
            "phases": self.phases,
            "choices": choices.in_use(),
            "roofline": asdict(self.measured.roof) if self.measured else None,
            "left_out": self.left_out,
            "wrong": self.wrong,
        }
        results = self.measured.results if self.measured else []
        content = timing.report("gpu dry run" if self.dry else "gpu", results, {**self.where, **head})
        path = self.out / f"{_slug(self.gpu.get('name', 'gpu'))}.json"
        write_json(path, content)
        if not with_pictures:
            return
        text = table.table(content)
        write_text_atomic(path.with_suffix(".txt"), text + "\n")
        print(f"\n{text}")
        try:
            plot.save(content, path.with_suffix(".png"))
        except (ImportError, ValueError) as error:
            print(f"no plot: {error}")
        print("\nphases: " + ", ".join(f"{name} {said['status']}" for name, said in self.phases.items()))
        print(f"written to {self.out}: {', '.join(sorted(file.name for file in self.out.iterdir()))}")


def _slug(name: str) -> str:
    """Return a name that a file can have.

    >>> _slug("NVIDIA H200")
    'nvidia-h200'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
