"""The rows of a table of choices: how they are read, checked, matched and written. choices.toml explains the format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gpunet.backend.kernel_backend import blocks
from gpunet.errors import FormatError, layout_message
from gpunet.ops.tiles import FMA_TILES, HALO_TILES, MMA_TILES, Tile

__all__ = ["KERNELS", "SPLIT", "TILED", "Choice", "Problem", "Row", "Rows", "make_row", "parse", "read", "to_text"]

# Each op, and the kernels that it can be made by.
KERNELS = {
    "gemm": ("tensor", "fma", "plain"),
    "conv_forward": ("halo", "tensor", "fma", "direct", "depthwise", "plain"),
    "conv_input_gradient": ("halo", "tensor", "fma", "depthwise", "plain"),
    "conv_weight_gradient": ("tensor", "fma", "direct", "depthwise", "plain"),
}
TILED = {"tensor": MMA_TILES, "halo": HALO_TILES, "fma": FMA_TILES}  # kernels, and their tiles
_DTYPES, _ORDERS = ("tf32", "half", "float32", "float64"), ("nt", "nn", "tn")
SPLIT = ("gemm", "conv_weight_gradient")  # ops whose depth can be split
_SLICES_PER_SPLIT = 4  # fewer, and filling the stages takes longer than multiplying

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Problem:
    """A product that wants a kernel; the sizes are explained in choices.toml.

    `kernels` are those that can make it. The convolution's sizes mean nothing for gemm, nor its order for convolution.
    """

    op: str
    dtype: str
    arch: int
    kernels: tuple[str, ...]
    rows: int
    columns: int
    depth: int
    groups: int = 1
    taps: int = 1
    channels: int = 0
    order: str = ""
    halo_tiles: tuple[Tile, ...] = ()

    def __hash__(self) -> int:  # of a few fields: one is taken at every launch
        return hash((self.op, self.rows, self.columns, self.depth))

    def takes(self, choice: Choice) -> bool:
        """Say whether a kernel can make the product; "halo" in some tiles only."""
        return choice.kernel in self.kernels and (choice.kernel != "halo" or choice.tile in self.halo_tiles)


@dataclass(frozen=True)
class Choice:
    """A kernel; for those with tiles its tile, and how many blocks splits of the depth shall make together."""

    kernel: str
    tile: Tile = MMA_TILES[0]
    blocks: int = 1
    splits: int = 0  # exactly so many, where `force` says so

    def split(self, tiles: int, depth: int, dtype: np.dtype[Any]) -> tuple[int, int]:
        """Return (splits, depth of each) of a product of so many tiles; no split is empty."""
        slices = max(1, blocks(depth, self.tile.depth(dtype)))
        wanted = self.splits or min(blocks(self.blocks, tiles), slices // _SLICES_PER_SPLIT)
        per_split = blocks(slices, max(1, min(wanted, slices))) * self.tile.depth(dtype)
        return max(1, blocks(depth, per_split)), per_split


@dataclass(frozen=True)
class Row:
    """One row: its conditions, and what it chooses."""

    conditions: Mapping[str, Any]  # as in the file
    words: Mapping[str, Sequence[str]]
    ranges: Mapping[str, Range]
    choice: Choice
    note: str = field(default="", compare=False)  # a comment, written behind the row

    def fits(self, problem: Problem) -> bool:
        """Say whether all conditions hold, and the kernel can make the product."""
        if not problem.takes(self.choice):
            return False
        for name, words in self.words.items():
            if getattr(problem, name) not in words:
                return False
        for name, (low, high) in self.ranges.items():
            if name == "tiles":
                size = self.choice.tile.count(problem.rows, problem.columns) * problem.groups
            else:
                size = getattr(problem, name)
            if not low <= size <= high:
                return False
        return True

    def as_written(self) -> dict[str, Any]:
        """Return the row's keys and values, as a file has them."""
        tensor = {"tile": str(self.choice.tile), "blocks": self.choice.blocks} if self.choice.kernel in TILED else {}
        if tensor.get("blocks") == 1:
            del tensor["blocks"]
        return {**self.conditions, "kernel": self.choice.kernel, **tensor}


Rows = dict[str, tuple[Row, ...]]


def read(path: Path, *, missing_ok: bool = False) -> Rows:
    """Read the rows of a file by op; none of a file that is missing, where it may be.

    Raises:
        FormatError: the file cannot be read, or says what nobody understands; the message names file and row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if missing_ok and isinstance(error, FileNotFoundError):
            return {}
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise FormatError(f"{path}: the table of choices cannot be read: {reason}") from None
    return parse(text, str(path))


def parse(text: str, path: str) -> Rows:
    """Read the rows of a file's text; `path` is for messages."""
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"{path}: the table of choices is no TOML: {error}") from None
    found = {}
    for op, rows in content.items():
        if op not in KERNELS:
            raise _error(path, f"there is no op {op!r}.", expected=", ".join(KERNELS))
        if not isinstance(rows, list):
            raise _error(path, f"{op} is no list of rows.", expected=f'{op} = [{{ kernel = "plain" }}]', got=rows)
        found[op] = tuple(_Reader(f"{path}: {op}, row {n}", op).row(row) for n, row in enumerate(rows, start=1))
    return found


def make_row(op: str, written: Mapping[str, Any], note: str = "") -> Row:
    """Return the row that a file would have as these keys and values.

    >>> make_row("gemm", {"rows": "..8", "kernel": "plain"}).choice.kernel
    'plain'
    """
    return replace(_Reader(op, op).row(written), note=note)


def _error(where: str, problem: str, expected: str, got: Any = None) -> FormatError:
    if got is not None:
        expected += f", got {got!r}"
    return FormatError(layout_message(where, problem, expected=expected))


class _Reader:
    """Reads one row; `where` names file and row."""

    def __init__(self, where: str, op: str) -> None:
        self.where, self.op = where, op
        own = ("order",) if op == "gemm" else ("taps", "channels", "groups")
        self.conditions = ("dtype", "arch", "rows", "columns", "depth", *own, "tiles")

    def fail(self, problem: str, expected: str, got: Any = None) -> NoReturn:
        raise _error(self.where, problem, expected, got)

    def row(self, row: Any) -> Row:
        if not isinstance(row, Mapping):
            self.fail("this is no row.", '{ columns = "..32", kernel = "plain" }', row)
        for key in row:
            if key not in (*self.conditions, "kernel", "tile", "blocks"):
                self.fail(f"there is no key {key!r}.", ", ".join((*self.conditions, "kernel", "tile", "blocks")))
        conditions = {key: row[key] for key in self.conditions if key in row}
        choice = self.choice(row)
        if "tiles" in row and choice.kernel not in TILED:
            self.fail(
                "tiles counts the row's own tiles, and there is no tile.", f"kernel = {_either(TILED)}, with a tile"
            )
        words = {"dtype": _DTYPES, "order": _ORDERS}
        return Row(
            conditions,
            {key: self.words(key, row[key], words[key]) for key in conditions if key in words},
            {key: self.range(key, row[key]) for key in conditions if key not in words},
            choice,
        )

    def choice(self, row: Mapping[str, Any]) -> Choice:
        kernel = self.one_of("kernel", KERNELS[self.op], row)
        if kernel not in TILED:
            for key in ("tile", "blocks"):
                if key in row:
                    self.fail(f"{key} means nothing here.", f"it beside kernel = {_either(TILED)} only, not {kernel!r}")
            return Choice(kernel)
        tiles = {str(tile): tile for tile in TILED[kernel]}
        tile = tiles[self.one_of("tile", tuple(tiles), row)]
        wanted = row.get("blocks", 1)
        if "blocks" in row and self.op not in SPLIT:
            self.fail("blocks means nothing here: this op's depth is never split.", f"it for {_either(SPLIT)} only")
        if not _is_count(wanted) or wanted < 1:
            self.fail("blocks is no number of blocks.", "an integer >= 1", wanted)
        return Choice(kernel, tile, wanted)

    def one_of(self, key: str, known: Sequence[str], row: Mapping[str, Any]) -> str:
        if key not in row:
            self.fail(f"the {key} is missing.", f"{key} = {_either(known)}")
        if row[key] not in known:
            self.fail(f"there is no such {key}.", _either(known), row[key])
        return row[key]

    def words(self, key: str, value: Any, known: Sequence[str]) -> tuple[str, ...]:
        words = tuple(value) if isinstance(value, list) else (value,)
        if not words or any(word not in known for word in words):
            self.fail(f"{key} is unknown.", f"{_either(known)}, or a list of these", value)
        return words

    def range(self, key: str, value: Any) -> Range:
        if _is_count(value):
            return value, value
        match = re.fullmatch(r"(\d*)\.\.(\d*)", value) if isinstance(value, str) else None
        if match is None or not any(match.groups()):
            self.fail(f"{key} is no range.", '"65..", "..32", "33..64", or an integer >= 0', value)
        low, high = int(match[1] or 0), int(match[2]) if match[2] else float("inf")
        if low > high:
            self.fail(f"the range of {key} is empty.", "the smaller end first", value)
        return low, high


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _either(words: Iterable[str]) -> str:
    return " or ".join(f'"{word}"' for word in words)


def to_text(rows: Mapping[str, Sequence[Row]]) -> str:
    """Write rows by op as TOML.

    >>> print(to_text(parse('gemm = [{ rows = "..8", kernel = "plain" }]', "example")))
    gemm = [
        { rows = "..8", kernel = "plain" },
    ]
    """
    lines = []
    for op, of_op in rows.items():
        lines.append(f"{op} = [")
        for row in of_op:
            pairs = ", ".join(f"{key} = {_value(value)}" for key, value in row.as_written().items())
            lines.append(f"    {{ {pairs} }},{f'  # {row.note}' if row.note else ''}")
        lines.append("]")
    return "\n".join(lines)


def _value(value: Any) -> str:
    """Write a word, a number, or a list of these."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value) if isinstance(value, int) else f'"{value}"'
