"""Shows how far a phase is: a bar on a terminal, else a line every ten seconds."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
EVERY = 10.0  # seconds


def progress(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Yield items and show how many there were."""
    if sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
        from tqdm import tqdm

        yield from tqdm(items, total=total, unit=what, leave=False)
        return
    begin = shown = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - shown > EVERY:
            shown = time.monotonic()
            of_total = "" if total is None else f" of {total}"
            print(f"  {done}{of_total} {what}s after {shown - begin:.0f} s", flush=True)
        yield item


def of_rows(rows: Sequence[T]) -> Iterator[T]:
    """Show progress over rows."""
    return progress(rows, len(rows), "row")
