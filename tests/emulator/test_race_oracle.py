"""The race detector accuses exactly those of many random programs that a plain definition of a race accuses."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from gpunet.errors import KernelError
from tests.emulator.conftest import launch

THREADS = 36  # a full warp, and one of four lanes
BUSY = (0, 1, 2, 31, 32, 33)  # those that use memory
READ, WRITE, ATOMIC, SYNCWARP, SYNCTHREADS = ACTIONS = range(1, 6)  # as `follow` in good.cu knows them


@dataclasses.dataclass
class Event:
    """One access of a thread, or a barrier of some threads."""

    what: int
    threads: tuple[int, ...]
    value: int = 0  # place in memory, or mask


def random_program(rng: np.random.Generator) -> list[Event]:
    """Events in one of the orders in which they can happen."""
    events = []
    for _ in range(rng.integers(3, 16)):
        what = int(rng.choice(ACTIONS, p=[0.3, 0.1, 0.12, 0.39, 0.09]))
        threads, value = tuple(range(THREADS)), 0
        if what <= ATOMIC:
            threads, value = (int(rng.choice(BUSY)),), int(rng.random() < 0.2)
        elif what == SYNCWARP:
            warp = int(rng.random() < 0.2)
            lanes = [t % 32 for t in BUSY if t // 32 == warp and rng.random() < 0.6] or [0]
            value = sum(1 << lane for lane in lanes)
            if rng.random() < 0.1:
                lanes, value = list(range(4 if warp else 32)), 2**32 - 1
            threads = tuple(warp * 32 + lane for lane in lanes)
        events.append(Event(what, threads, value))
    return events


def races(events: list[Event]) -> set[tuple[int, int]]:
    """The pairs of threads whose accesses no chain of barriers orders."""
    known: list[set[int]] = [set() for _ in range(THREADS)]  # events that happened before what a thread does next
    found = set()
    for number, event in enumerate(events):
        if event.what <= ATOMIC:
            (thread,) = event.threads
            for before, earlier in enumerate(events[:number]):
                touch = earlier.what <= ATOMIC and earlier.value == event.value
                kinds = {earlier.what, event.what}
                if touch and before not in known[thread] and kinds not in ({READ}, {ATOMIC}):
                    found |= {(thread, earlier.threads[0]), (earlier.threads[0], thread)}
            known[thread].add(number)
        else:
            union = set().union(*(known[thread] for thread in event.threads))
            for thread in event.threads:
                known[thread] = set(union)
    return found


def accused(events: list[Event]) -> tuple[str, int, int] | None:
    """What the race detector says of the earlier access, and its two threads; None where it is content."""
    rows: list[list[int]] = [[] for _ in range(THREADS)]
    for event in events:
        for thread in event.threads:
            value = event.value - 2**32 if event.value >= 2**31 else event.value
            rows[thread] += [event.what, value]
    steps = max(map(len, rows)) // 2
    program = np.array([row + [0] * (2 * steps - len(row)) for row in rows], np.int32)
    try:
        launch("good.cu", "race", "follow", program, np.zeros(THREADS, np.int32), steps, block=(THREADS,))
    except KernelError as error:
        named = re.search(r": race in .* by thread (\d+) of .*, after (.*) by thread (\d+) of", str(error))
        assert named, str(error)
        return named[2], int(named[1]), int(named[3])
    return None


@pytest.mark.parametrize("seed", range(3))
def test_programs_with_a_race_are_accused_and_no_others(seed, schedule):
    rng = np.random.default_rng(seed)
    verdicts = []
    for _ in range(100):
        events = random_program(rng)
        expected, found = races(events), accused(events)
        assert bool(expected) == bool(found), events
        if found and not found[0].endswith("the last"):  # of several accesses, any of which may be meant
            assert found[1:] in expected, events
        verdicts.append(bool(found))
    assert 20 < sum(verdicts) < 80
