"""How the emulator runs: which checks, in which order the threads run, on how many CPU threads."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gpunet.errors import KernelError, layout_message

MODES = ("fast", "race", "banks", "asan")
SCHEDULES = ("forward", "reverse", "random")
MAX_WORKERS = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a launch does besides computing.

    Args:
        mode: 'fast' (no checks but deadlocks), 'race' (data races and barriers that some threads miss), 'banks'
            (counts bank conflicts, see `watch_banks`), or 'asan' (AddressSanitizer and UndefinedBehaviorSanitizer,
            in a process prepared with `asan_environment`). Read when a RawModule is built.
        schedule: the order in which threads and blocks run: 'forward', 'reverse' or 'random'. Read at each launch.
        seed: of the random schedule, 0 to 2**32 - 1. Read at each launch.
        workers: CPU threads that run blocks, None for one per usable CPU. Read at each launch; all modes
            but 'fast' use one.

    Raises:
        KernelError: a value is not one of these.
    """

    mode: str = "fast"
    schedule: str = "forward"
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        _check("mode", self.mode, self.mode in MODES, " or ".join(map(repr, MODES)))
        _check("schedule", self.schedule, self.schedule in SCHEDULES, " or ".join(map(repr, SCHEDULES)))
        _check("seed", self.seed, _is_int(self.seed, 0, 2**32 - 1), "an integer from 0 to 2**32 - 1")
        _check(
            "workers",
            self.workers,
            self.workers is None or _is_int(self.workers, 1, MAX_WORKERS),
            f"an integer from 1 to {MAX_WORKERS}, or None for one per CPU",
        )

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Settings:
        """The settings named by GPUNET_EMULATOR_MODE, _SCHEDULE, _SEED and _WORKERS.

        >>> Settings.from_environment({"GPUNET_EMULATOR_SCHEDULE": "random", "GPUNET_EMULATOR_SEED": "7"})
        Settings(mode='fast', schedule='random', seed=7, workers=None)
        """
        found: dict[str, Any] = {}
        for field in dataclasses.fields(Settings):
            variable = f"GPUNET_EMULATOR_{field.name.upper()}"
            text = environment.get(variable, "").strip()
            if not text:
                continue
            value: str | int = text
            if field.name in ("seed", "workers"):
                try:
                    value = int(text)
                except ValueError:
                    raise KernelError(_bad_value(f"the environment variable {variable}", text, "an integer")) from None
            found[field.name] = value
        return Settings(**found)


def _is_int(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _bad_value(name: str, value: object, expected: str) -> str:
    return layout_message("emulator", f"{name} has a bad value.", expected=f"{expected}, got {value!r}")


def _check(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        hint = f"see configure({name}=...) and the environment variable GPUNET_EMULATOR_{name.upper()}"
        raise KernelError(
            layout_message("emulator", f"{name} has a bad value.", expected=f"{expected}, got {value!r}", hint=hint)
        )


_configured: ContextVar[Settings | None] = ContextVar("gpunet_emulator_settings", default=None)


@functools.cache
def _environment_settings() -> Settings:
    return Settings.from_environment(os.environ)


def settings() -> Settings:
    """The settings in force: those of the innermost `configure`, else those of the environment.

    Raises:
        KernelError: an environment variable has a bad value.
    """
    return _configured.get() or _environment_settings()


@contextmanager
def configure(**changes: Any) -> Iterator[Settings]:
    """Change some settings within a `with` block, for the calling Python thread.

    Args:
        changes: any of mode, schedule, seed, workers; see `Settings`.

    Raises:
        KernelError: a name or a value is wrong.

    Example:
        >>> with configure(schedule="random", seed=3):
        ...     settings().schedule
        'random'
    """
    known = [field.name for field in dataclasses.fields(Settings)]
    for name in changes:
        if name not in known:
            raise KernelError(
                layout_message("emulator", f"there is no setting {name!r}.", expected="one of " + ", ".join(known))
            )
    token = _configured.set(dataclasses.replace(settings(), **changes))
    try:
        yield settings()
    finally:
        _configured.reset(token)
