"""A stand-in for CuPy: a stream that works only while somebody waits for it, with a clock and a log of its own."""

from __future__ import annotations

import sys

LOG: list[str] = []
_stream: list[Event | float] = []
_now = 0.0


class Event:
    def record(self) -> None:
        LOG.append("record")
        _stream.append(self)

    def synchronize(self) -> None:
        global _now
        LOG.append("wait")
        while _stream:
            entry = _stream.pop(0)
            if isinstance(entry, Event):
                _now += 1e-6
                entry.reached = _now
            else:
                _now += entry


def get_elapsed_time(start: Event, end: Event) -> float:
    """Return milliseconds; fails for an event that the stream has not reached, as CUDA does."""
    return (end.reached - start.reached) * 1000


def launch(seconds: float) -> None:
    LOG.append("work")
    _stream.append(seconds)


cuda = sys.modules[__name__]  # cupy.cuda.Event and cupy.Event are one here
