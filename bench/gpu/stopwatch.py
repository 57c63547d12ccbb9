"""Times contestants in turn by CUDA events, each round queued before the device may begin it.

A round is some calls between two events. Before the first event, the stream is held for as long as the host needs to
queue the calls; so between the events the device never waits for Python, and what is measured is the device's work.
Whether the hold was long enough is checked: the device must not have reached the first event when all is queued. The
host's own time per call is noted beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench import timing
from bench.gpu.rig import Rig

Call = Callable[[], object]

ROUND = 5e-4  # seconds of the device's work that a round has at least, unless that takes more than MOST_CALLS
MOST_CALLS = 50  # the queue between host and device holds about a thousand launches, and a call may have several
LONGEST_HOLD = 0.05  # seconds


@dataclass
class Lane:
    """One contestant: its calls per round, its hold, and what was measured so far."""

    call: Call
    calls: int = 1
    hold: float = 1e-3
    seconds: list[float] = field(default_factory=list)  # of the device, per call
    host: list[float] = field(default_factory=list)  # of the host, per call
    late: int = 0  # rounds in which the device waited for the host


def compare(rig: Rig, contestants: Mapping[str, Call], until: float) -> dict[str, timing.Result]:
    """Time contestants A-B-A-B until a moment of `time.perf_counter`, within the rig's limits of rounds.

    `extra` of a result has `calls` per round, `host` seconds per call, and `late`: the share of rounds in which the
    host was the bottleneck after all.
    """
    lanes = {name: Lane(call) for name, call in contestants.items()}
    for lane in lanes.values():
        _warm_up(rig, lane)
    least, most = rig.rounds
    for done in range(most):
        if done >= least and time.perf_counter() > until:
            break
        for lane in lanes.values():
            lane.seconds.append(_round(rig, lane))
    return {
        name: timing.summarize(
            name, lane.seconds, calls=lane.calls, host=min(lane.host), late=lane.late / len(lane.seconds)
        )
        for name, lane in lanes.items()
    }


def _warm_up(rig: Rig, lane: Lane) -> None:
    """Choose calls per round and the hold by first rounds, which do not count."""
    if rig.dry:
        return
    for _ in range(3):
        seconds = _round(rig, lane)
    lane.calls = max(1, min(MOST_CALLS, round(ROUND / max(seconds, 1e-7))))
    lane.hold = min(LONGEST_HOLD, 1.5 * lane.calls * min(lane.host) + 1e-4)
    _round(rig, lane)
    lane.late = 0


def _round(rig: Rig, lane: Lane) -> float:
    """Return the device's seconds per call; try once more with twice the hold when the host was too slow."""
    for last in (False, True):
        start, end = rig.cuda.Event(), rig.cuda.Event()
        rig.hold(lane.hold)
        start.record()
        begin = time.perf_counter()
        for _ in range(lane.calls):
            lane.call()
        queued = time.perf_counter() - begin
        late = start.done
        end.record()
        end.synchronize()
        lane.host.append(queued / lane.calls)
        if not late:
            break
        lane.hold = min(LONGEST_HOLD, 2 * lane.hold)
        lane.late += last
    milliseconds: float = rig.cuda.get_elapsed_time(start, end)
    return milliseconds / 1e3 / lane.calls
