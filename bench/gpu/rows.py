"""What is compared: rows of one op at one size in one precision, and the goals they are judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench.gpu.rig import Rig
from bench.work import Work

# The largest |y - expected| with which a result counts as right: of products relative to the largest sum of absolute
# products, else relative to the largest result.
TOLERANCE = {"fp32": 1e-6, "tf32": 1e-3, "bf16": 1e-2, "fp16": 2e-3}
MEMORY_TOLERANCE = {"fp32": 1e-5, "bf16": 1e-2}


@dataclass(frozen=True)
class Goal:
    """What must be reached (floor) and what is hoped for (aim).

    `speed-up` is the best peer's time over gpunet's; `of copy` is bytes per second over the measured copy bandwidth.
    """

    measure: Literal["speed-up", "of copy"]
    floor: float
    aim: float


FIRST_LAYER = Goal("speed-up", 1.5, 2.0)
FEW_CHANNELS = Goal("speed-up", 0.9, 1.2)
MANY_CHANNELS = Goal("speed-up", 0.5, 0.63)
PRODUCT = Goal("speed-up", 0.5, 0.63)
SMALL_BATCH = Goal("speed-up", 1.0, 1.5)
MEMORY = Goal("of copy", 0.8, 0.9)


@dataclass(frozen=True)
class Match:
    """The contestants of a row, ready to be called on the same inputs.

    Attributes:
        calls: what to call by name, "gpunet" first; each returns its result.
        expected: () -> the result in float64, as a tensor, and what errors are relative to; None where peers cannot
            agree, as with random numbers.
    """

    calls: dict[str, Callable[[], Any]]
    expected: Callable[[], tuple[Any, float]] | None


@dataclass(frozen=True)
class Row:
    """One op at one size in one precision."""

    family: Literal["conv", "gemm", "memory"]
    op: str
    case: str
    precision: str
    work: Work
    goal: Goal | None
    setup: Callable[[Rig], Match]

    def __str__(self) -> str:
        return f"{self.op}, {self.case}, {self.precision}"

    @property
    def tolerance(self) -> float:
        """The largest error that counts as right."""
        return (MEMORY_TOLERANCE if self.family == "memory" else TOLERANCE)[self.precision]

    @property
    def urgency(self) -> int:
        """Where it stands when time is short: goals first, and of these the precisions of tensor cores."""
        if self.goal is None:
            return 2
        return 0 if self.family == "memory" or self.precision in ("tf32", "bf16") else 1


def of_largest(exact: Any) -> tuple[Any, float]:
    """Return a result and its largest absolute value."""
    return exact, float(exact.abs().max())
