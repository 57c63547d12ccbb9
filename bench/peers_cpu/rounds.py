"""Rounds of contestants in turn, so that a disturbance meets all of them, each on a machine that is idle otherwise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench import timing
from bench.peers_cpu import legs
from bench.peers_cpu.contestants import Entry
from bench.peers_cpu.workloads import Workload

ROOT = Path(__file__).resolve().parents[2]
FEWEST = 3  # rounds that even the slowest contestant runs


@dataclass(frozen=True)
class Settings:
    """How long and how carefully is measured."""

    rounds: int = 20
    seconds: float = 0.5  # of steps in a round
    steps: int = 2  # in a round, at least
    budget: float = 60.0  # seconds after which a slow contestant sits the other rounds out
    patience: float = 60.0  # seconds that a round waits for an idle machine; 0 does not look
    busy: float = 0.05  # share of the CPUs that others may take
    threads: int = 2
    leg: str = "native"
    epochs: int = 3  # rounds of a workload whose steps are epochs
    data: str = ""  # the folder with MNIST, for these


@dataclass
class Measured:
    """What a contestant's process told about a workload."""

    entry: Entry
    workload: Workload
    facts: dict[str, Any]  # import_s, build_s, cold_s, losses, kernels; peak_rss after the last round
    times: list[float] = field(default_factory=list)  # seconds of steps, of all rounds
    rounds: int = 0
    contended: int = 0  # of them, those during or before which others took CPU


class ChildFailed(RuntimeError):
    """A contestant's process ended by itself; the message is the last line that it said."""


class Child:
    """The process of one contestant and workload, after its first steps; see `child.py`."""

    def __init__(self, entry: Entry, workload: Workload, settings: Settings) -> None:
        threads = entry.threads or settings.threads
        task = {"module": entry.module, "variant": entry.variant, "threads": threads, "data": settings.data}
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  close() does
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers_cpu.child", json.dumps({**task, "workload": asdict(workload)})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            cwd=ROOT,
            env=legs.environment(settings.leg, threads),
        )
        try:
            self.facts = self._answer()
        except BaseException:
            self.close()
            raise
        self._cpu = self.facts.pop("cpu_s")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            raise ChildFailed(reason(self._said.read()) or f"exit code {code}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def round(self, seconds: float, steps: int) -> tuple[dict[str, Any], float | None]:
        """Run a round; return what it measured and the share of the CPUs that others took meanwhile."""
        assert self._process.stdin is not None
        before = timing.cpu_seconds()
        order = json.dumps({"seconds": seconds, "steps": steps})
        with suppress(BrokenPipeError):  # it ended; reading its answer says why
            print(order, file=self._process.stdin, flush=True)
        answer, after = self._answer(), timing.cpu_seconds()
        own, self._cpu = answer["cpu_s"] - self._cpu, answer["cpu_s"]
        return answer, timing.elsewhere(before, after and after._replace(own=after.own + own))

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


def reason(said: str) -> str:
    """Return the line that says why a process failed: the last one that names an error, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (errors or lines or [""])[-1]


def idle(settings: Settings) -> bool:
    """Wait until nobody else works; say whether that came in time."""
    return not settings.patience or timing.wait_until_idle(settings.patience, share=settings.busy, every=0.2, times=1)


def measure(
    workload: Workload, entries: Sequence[Entry], settings: Settings, left_out: dict[str, str]
) -> list[Measured]:
    """Run all rounds of a workload; what fails is named in `left_out` as "workload contestant", with its reason."""
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        measured: dict[str, Measured] = {}
        for entry in entries:
            idle(settings)
            try:
                child = Child(entry, workload, settings)
            except ChildFailed as error:
                left_out[f"{workload.name} {entry.name}"] = str(error)
                continue
            stack.callback(child.close)
            children[entry.name], measured[entry.name] = child, Measured(entry, workload, child.facts)
        count, length = settings.rounds, (settings.seconds, settings.steps)
        if workload.epoch:
            count, length = settings.epochs, (0.0, 1)
        turns = list(_turns(list(measured), count))
        for name in tqdm(turns, workload.name, unit="round", file=sys.stderr):
            result = measured[name]
            if name not in children or (result.rounds >= FEWEST and sum(result.times) > settings.budget):
                continue
            clean = idle(settings)
            try:
                answer, others = children[name].round(*length)
            except ChildFailed as error:
                left_out[f"{workload.name} {name}"] = str(error)
                del children[name]
                continue
            result.times += answer["times"]
            result.rounds += 1
            result.contended += not clean or (settings.patience > 0 and (others or 0) > settings.busy)
            result.facts["peak_rss"] = answer["peak_rss"]
            if answer["metrics"]:
                result.facts.setdefault("epochs", []).append(answer["metrics"])
        return [measured[name] for name in children]


def _turns(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Name who is next; each round starts with another one."""
    for turn in range(rounds):
        first = turn % max(1, len(names))
        yield from (*names[first:], *names[:first])
