"""A clock for pytest-benchmark that reads the GPU's time.

pytest-benchmark times a round as `start = timer(); call(); ...; end = timer(); end - start`. Here a reading is a CUDA
event in the current stream, so the calls of a round queue up behind each other, and only the difference waits for the
GPU. A round takes as long as the GPU works, or as long as the host needs to launch, whichever is longer.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Reading", "cuda_events"]


class Reading:
    """A point in the order of the current stream's work."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._event = cuda.Event()
        self._event.record()

    def __sub__(self, start: Reading) -> float:
        """Wait until this point is reached; return the seconds since `start` was."""
        self._event.synchronize()
        milliseconds: float = self._cuda.get_elapsed_time(start._event, self._event)
        return milliseconds / 1000


def cuda_events() -> Reading:
    """Read the clock: record an event and do not wait."""
    import cupy

    return Reading(cupy.cuda)
