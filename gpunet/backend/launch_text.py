"""A launch as text, in CUDA's notation with named arguments: what `gpunet kernels check` runs.

    saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)
    tiles<<<(2, 3), (16, 16), shared=2048>>>(c=float[35, 18], counter=int[1]=0, mask=null)

A kernel file carries its launches in comment lines `// launch: saxpy<<<4, 64>>>(...)`.

    launch    = name "<<<" sizes "," sizes ["," "shared" "=" integer] ">>>" "(" [argument {"," argument}] ")"
    sizes     = integer | "(" integer {"," integer} ")"
    argument  = name "=" (array | number | "true" | "false" | "null")
    array     = type "[" integer {"," integer} "]" ["=" number]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gpunet.errors import KernelError, layout_message

__all__ = ["Array", "Launch", "launches_in", "parse"]

MAX_ELEMENTS = 2**26  # of all arrays of one launch: the emulator is not for large ones


@dataclass(frozen=True)
class Array:
    """An array argument: its C type, its sizes, and one value for all elements, or None for random ones."""

    type: str
    shape: tuple[int, ...]
    fill: float | None = None


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel. `where` says for messages where the text stands."""

    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int
    arguments: Mapping[str, Array | float | None]
    text: str
    where: str

    def error(self, problem: str, *, expected: str = "", hint: str = "") -> KernelError:
        """Return an error about this launch, with its text."""
        return KernelError(layout_message(self.where, problem, inputs=[self.text], expected=expected, hint=hint))


_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?f?|(?:inf|nan)\b))"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<symbol><<<|>>>|[()\[\],=])|(?P<other>\S))"
)
_COMMENT = re.compile(r"[ \t]*//[ \t]*launch:(.*)")


def parse(text: str, where: str = "--launch") -> Launch:
    """Read a launch.

    Raises:
        KernelError: the text is not in the notation; a mark shows where.

    >>> launch = parse("saxpy<<<4, (8, 8)>>>(y=float[10, 2], a=2.0, n=20)")
    >>> launch.kernel, launch.grid, launch.block, launch.arguments["y"]
    ('saxpy', (4,), (8, 8), Array(type='float', shape=(10, 2), fill=None))
    """
    reader = _Reader(text.strip(), where)
    kernel = reader.take("name", "the name of a kernel")
    reader.symbol("<<<")
    grid = reader.sizes()
    reader.symbol(",")
    block = reader.sizes()
    shared = 0
    if reader.found(","):
        if reader.take("name", "shared=BYTES") != "shared":
            reader.fail("shared=BYTES")
        reader.symbol("=")
        shared = reader.integer(least=0)
    reader.symbol(">>>")
    reader.symbol("(")
    arguments: dict[str, Array | float | None] = {}
    while not reader.found(")"):
        if arguments:
            reader.symbol(",", "',' or ')'")
        name = reader.take("name", "the name of a parameter")
        if name in arguments:
            reader.fail(f"another parameter ({name} is there already)")
        reader.symbol("=")
        arguments[name] = reader.value()
    reader.end()
    elements = sum(_elements(value.shape) for value in arguments.values() if isinstance(value, Array))
    launch = Launch(kernel, grid, block, shared, arguments, reader.text, where)
    if elements > MAX_ELEMENTS:
        raise launch.error(
            f"the arrays have {elements:,} elements.",
            expected=f"at most {MAX_ELEMENTS:,}",
            hint="a small launch with ragged edges finds as much",
        )
    return launch


def launches_in(file: str, text: str) -> list[Launch]:
    """Return the launches that a kernel file carries in comment lines `// launch: ...`.

    >>> [launch.where for launch in launches_in("a.cu", "// launch: f<<<1, 32>>>(n=3)")]
    ['a.cu:1']
    """
    matches = ((number, _COMMENT.fullmatch(line)) for number, line in enumerate(text.splitlines(), start=1))
    return [parse(match[1], f"{file}:{number}") for number, match in matches if match]


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


class _Reader:
    """Takes a text apart from left to right."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.start = self.end_of_token = 0  # of the token taken last, for messages

    def fail(self, expected: str) -> None:
        """Raise the error of the token that was taken last."""
        raise KernelError(
            layout_message(
                self.where,
                "this is not a launch.",
                inputs=[self.text, " " * self.start + "^"],
                expected=f"{expected}, got {self.text[self.start : self.end_of_token] or 'the end'}",
                hint="such as: saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)",
            )
        )

    def _next(self, advance: bool = True) -> tuple[str, str]:
        match = _TOKEN.match(self.text, self.end_of_token)
        if match is None:
            kind, token, start, end = "end", "", len(self.text), len(self.text)
        else:
            kind = str(match.lastgroup)
            token, start, end = match[kind], match.start(kind), match.end()
        if advance:
            self.start, self.end_of_token = start, end
        return kind, token

    def take(self, kind: str, expected: str) -> str:
        """Take a token of a kind."""
        found, token = self._next()
        if found != kind:
            self.fail(expected)
        return token

    def found(self, symbol: str) -> bool:
        """Take a symbol if it comes next, and say so."""
        there = self._next(advance=False) == ("symbol", symbol)
        if there:
            self._next()
        return there

    def symbol(self, symbol: str, expected: str = "") -> None:
        """Take a symbol that must come next."""
        if self._next() != ("symbol", symbol):
            self.fail(expected or repr(symbol))

    def end(self) -> None:
        """Check that nothing is left."""
        if self._next()[0] != "end":
            self.fail("nothing more")

    def integer(self, least: int = 1) -> int:
        """Take an integer."""
        token = self.take("number", "an integer")
        value = _number(token)
        if not isinstance(value, int) or value < least:
            self.fail(f"an integer >= {least}")
        return int(value)

    def sizes(self) -> tuple[int, ...]:
        """Take one size, or up to three in parentheses."""
        if not self.found("("):
            return (self.integer(),)
        found = self._integers(")")
        if len(found) > 3:
            self.fail("at most three sizes")
        return found

    def _integers(self, closing: str) -> tuple[int, ...]:
        found = [self.integer()]
        while not self.found(closing):
            self.symbol(",", f"',' or {closing!r}")
            found.append(self.integer())
        return tuple(found)

    def value(self) -> Array | float | None:
        """Take the value of an argument."""
        kind, token = self._next()
        if kind == "number":
            return _number(token)
        if kind != "name":
            self.fail("a number, null, or an array such as float[200]")
        if token in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[token]
        words = [token]
        while not self.found("["):
            words.append(self.take("name", "'[' and the array's sizes"))
        shape = self._integers("]")
        fill = _number(self.take("number", "a number for all elements")) if self.found("=") else None
        return Array(" ".join(words), shape, fill)


def _number(token: str) -> float:
    """Return an int or a float as written."""
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", token):
        return int(token, 16)
    return (
        int(token)
        if re.fullmatch(r"[+-]?\d+", token)
        else float(token.removesuffix("f") if "n" not in token else token)
    )
