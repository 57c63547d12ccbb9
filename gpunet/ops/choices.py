"""Which kernel makes a product, in which tile and in how many splits: what the tables of choices say.

The shipped table is choices.toml beside this file, which explains the format; the rows of a user's table go before
it. A table says what a kernel should do; what it can do is in its own code.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend.dtypes import is_half
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops.choices_table import Choice, Problem, Row, read

__all__ = [
    "SHIPPED",
    "Choice",
    "Problem",
    "Table",
    "choose",
    "dtype_class",
    "force",
    "in_use",
    "shipped",
    "table",
    "user_path",
]

SHIPPED = Path(__file__).with_name("choices.toml")


@dataclass(frozen=True, eq=False)
class Table:
    """The rows in force on a GPU.

    Attributes:
        rows: by op, the user's first.
        user: the file that the user's rows are from, or None.
    """

    rows: dict[str, tuple[Row, ...]]
    user: Path | None

    @functools.cached_property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that change with what any row says."""
        content = {op: [row.as_written() for row in rows] for op, rows in self.rows.items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - tables live as long as the process
    def choose(self, problem: Problem) -> Choice:
        """Return what the first row says that fits; the shipped table's last row of each op fits always."""
        return next(row.choice for row in self.rows[problem.op] if row.fits(problem))


def user_path(gpu: str) -> Path | None:
    """Return where the user's table for a model of GPU lies, whether it exists or not.

    $GPUNET_CHOICES names one for all GPUs (empty: none). Else it is gpunet/choices/<gpu>.toml in $XDG_CONFIG_HOME
    or ~/.config, which is no cache: results depend on it to the last bit. None where a user has no home.
    """
    if "GPUNET_CHOICES" in os.environ:
        return Path(os.environ["GPUNET_CHOICES"] or os.devnull)
    try:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        return None
    return config / "gpunet" / "choices" / f"{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}.toml"


_tables: dict[str, Table] = {}
_used: set[str] = set()  # the models of GPU for which something was chosen


@functools.cache
def shipped() -> Table:
    """Return the shipped table alone."""
    return Table(read(SHIPPED), None)


def table(gpu: str) -> Table:
    """Return the table in force on a model of GPU, which is read once per process.

    Raises:
        FormatError: $GPUNET_CHOICES names no file, or a table says what nobody understands.
    """
    if gpu not in _tables:
        user = user_path(gpu)
        own = read(user, missing_ok="GPUNET_CHOICES" not in os.environ) if user else {}
        rows = shipped().rows
        _tables[gpu] = Table({op: (*own.get(op, ()), *rows[op]) for op in rows}, user if own else None)
    return _tables[gpu]


def in_use() -> dict[str, str]:
    """Return the digest of the table in force on each model of GPU that this process has chosen for."""
    return {gpu: table(gpu).digest for gpu in sorted(_used)}


def dtype_class(dtype: np.dtype[Any], allow_tf32: bool) -> str:
    """Return what tables call a dtype and a precision.

    >>> dtype_class(np.dtype(np.float32), allow_tf32=True), dtype_class(np.dtype(np.float16), allow_tf32=False)
    ('tf32', 'half')
    """
    if is_half(dtype):
        return "half"
    return "tf32" if dtype == np.float32 and allow_tf32 else dtype.name


_forced: ContextVar[Choice | None] = ContextVar("gpunet_forced_choice", default=None)


@contextmanager
def force(choice: Choice) -> Iterator[None]:
    """Take one kernel for all products that it can make: for tests, and for tuning."""
    token = _forced.set(choice)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(be: KernelBackend, problem: Problem) -> Choice:
    """Return the kernel for a product."""
    forced = _forced.get()
    if forced is not None and problem.takes(forced):
        return forced
    _used.add(be.gpu)
    return table(be.gpu).choose(problem)
