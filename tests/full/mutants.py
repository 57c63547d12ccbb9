"""Mutants of kernel text: one small change each, of the kind that a tired programmer makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.full.code import Code, Token

Edit = tuple[int, int, str]  # replace text[start:end]
_SYNCHRONISES = re.compile(r"sync|barrier|fence|wait|commit|arrive")
_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
_ENDS = {",", ";", "?", ":", "return", *_ASSIGNMENTS}
_SWAPPED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OPPOSITE = {"+": "-", "-": "+", "+=": "-=", "-=": "+="}
_LOWER_THAN_PLUS = re.compile(r"[?:<>=&|^]")


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        file: in kernels/.
        operator: what kind of change, a key of OPERATORS.
        where: the function or struct that holds it.
        number: of the first line it touches, from 1.
        line: the original line (several, where the change spans them), stripped.
        mutated: the same after the change.
        edit: the change.
    """

    file: str
    operator: str
    where: str
    number: int
    line: str
    mutated: str
    edit: Edit

    def apply(self, text: str) -> str:
        start, end, replacement = self.edit
        return text[:start] + replacement + text[end:]

    def __str__(self) -> str:
        return f"{self.file}:{self.number} {self.operator}: {self.line}  ->  {self.mutated}"


def _calls(code: Code) -> Iterator[tuple[str, int, int]]:
    """Calls that are whole statements: name, first and last token."""
    for i, token in enumerate(code.tokens):
        closing = code.partner.get(i)
        if token.text != "(" or closing is None or code.tokens[closing + 1].text != ";":
            continue
        first = i - 1
        if code.tokens[first].text == ">":  # wait<1>();
            first = code.left(first, lambda text: text == "<") - 2
        if code.tokens[first].is_name and code.tokens[first - 1].text in (";", "{", "}", ")", "else"):
            yield code.tokens[first].text, first, closing


def synchronisations(kind: str) -> Callable[[Code], Iterator[Edit]]:
    """Delete each call that waits for other threads, for copies, or orders memory."""

    def operator(code: Code) -> Iterator[Edit]:
        for name, first, last in _calls(code):
            if _SYNCHRONISES.search(name) and kind == _kind(name):
                yield code.tokens[first].start, code.tokens[last].end, "(void)0"

    return operator


def _kind(name: str) -> str:
    return "fence" if "fence" in name else "wait" if re.search("wait|commit|cp_async", name) else "barrier"


def comparisons(code: Code) -> Iterator[Edit]:
    """Swap < and <=, > and >=."""
    for i in code.find(*_SWAPPED):
        if code.is_spaced(i) and code.tokens[i - 1].text != "template":
            yield code.tokens[i].start, code.tokens[i].end, _SWAPPED[code.tokens[i].text]


def operands(code: Code) -> Iterator[Edit]:
    """Drop each operand of && and ||, and of min and max, which are bounds checks too."""
    tokens = code.tokens
    for i in code.find("&&", "||"):
        if not code.is_spaced(i):
            continue
        stop = _ENDS | {"||"} | ({"&&"} if tokens[i].text == "&&" else set())
        first, last = code.left(i, stop.__contains__), code.right(i, stop.__contains__)
        if tokens[first - 1].text != tokens[i].text:  # the operand of an earlier one has been dropped with it
            yield tokens[first].start, tokens[i + 1].start, ""
        yield tokens[i - 1].end, tokens[last].end, ""
    for i in code.find("min", "max"):
        if tokens[i + 1].text != "(":
            continue
        middle = code.right(i + 1, lambda text: text == ",") + 1
        closing = code.partner[i + 1]
        if code.right(middle, lambda text: text == ",") + 1 == closing:
            yield tokens[i].start, tokens[closing].end, code.text[tokens[i + 1].start : tokens[middle].start] + ")"
            yield tokens[i].start, tokens[closing].end, "(" + code.text[tokens[middle + 1].start : tokens[closing].end]


def indices(code: Code) -> Iterator[Edit]:
    """Shift each array index by one."""
    for i in code.find("["):
        if i and not code.is_declarator(i) and code.partner[i] > i + 1:
            start, end = code.tokens[i].end, code.tokens[code.partner[i]].start
            yield start, end, _plus_one(code.text[start:end])


def _plus_one(expression: str) -> str:
    return f"({expression}) + 1" if _LOWER_THAN_PLUS.search(expression) else f"{expression} + 1"


def starts(code: Code) -> Iterator[Edit]:
    """Begin each loop one later."""
    for equals in _loop_starts(code):
        last = code.right(equals, lambda text: text in (",", ";"))
        start, end = code.tokens[equals + 1].start, code.tokens[last].end
        yield start, end, _plus_one(code.text[start:end])


def _loop_starts(code: Code) -> list[int]:
    """The = of each `for (int i = ...`."""
    found = []
    for i in code.find("for"):
        j = i + 2
        while code.tokens[j].text != ";":
            if code.tokens[j].text == "=":
                found.append(j)
            j = code.partner.get(j, j) + 1
    return found


def zeros(code: Code) -> Iterator[Edit]:
    """Remove each zero that fills: `= {}` is deleted, `= 0` becomes 1.

    The zeros of `c ? x : 0` and `if (c) return 0` are removed by predicates: there x is taken also where c forbids it.
    """
    tokens = code.tokens
    loops = _loop_starts(code)
    for i in code.find("="):
        if tokens[i + 1].text == "{" and code.partner[i + 1] == i + 2:
            yield tokens[i - 1].end, tokens[i + 2].end, ""
        if re.fullmatch(r"0(\.0?f?)?", tokens[i + 1].text) and i not in loops and not _continues(tokens, i + 1):
            yield tokens[i + 1].start, tokens[i + 1].end, tokens[i + 1].text.replace("0", "1", 1)


def _continues(tokens: list[Token], i: int) -> bool:
    """Whether a zero is only the beginning of an expression."""
    return tokens[i + 1].text not in (";", ",", ")", "}")


def predicates(code: Code) -> Iterator[Edit]:
    """Let each condition of an `if` or `? :` be true, and false."""
    tokens = code.tokens
    for i in code.find("if"):
        opening = i + 2 if tokens[i + 1].text == "constexpr" else i + 1
        start, end = tokens[opening].end, tokens[code.partner[opening]].start
        yield start, end, "true"
        yield start, end, "false"
    for i in code.find("?"):
        first = code.left(i, _ENDS.__contains__)
        yield tokens[first].start, tokens[i - 1].end, "true"
        yield tokens[first].start, tokens[i - 1].end, "false"


def arithmetic(code: Code) -> Iterator[Edit]:
    """Swap + and -."""
    for i in code.find(*_OPPOSITE):
        if code.is_spaced(i) and code.tokens[i - 1].is_value_end:
            yield code.tokens[i].start, code.tokens[i].end, _OPPOSITE[code.tokens[i].text]


OPERATORS: dict[str, Callable[[Code], Iterator[Edit]]] = {
    "barrier": synchronisations("barrier"),
    "wait": synchronisations("wait"),
    "fence": synchronisations("fence"),
    "comparison": comparisons,
    "operand": operands,
    "index": indices,
    "start": starts,
    "zero": zeros,
    "predicate": predicates,
    "arithmetic": arithmetic,
}


def mutants(file: str, text: str) -> list[Mutant]:
    """Return all mutants of a text, in the order of its lines."""
    code = Code(text)
    found = {}
    for operator, make in OPERATORS.items():
        for edit in make(code):
            found.setdefault(edit, _mutant(file, operator, code, edit))
    return sorted(found.values(), key=lambda mutant: mutant.edit[:2])


def _mutant(file: str, operator: str, code: Code, edit: Edit) -> Mutant:
    start, end, replacement = edit
    text = code.text
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    mutated = text[first:start] + replacement + text[end:last]
    return Mutant(
        *(file, operator, code.where(start), text.count("\n", 0, start) + 1),
        *(_one_line(text[first:last]), _one_line(mutated), edit),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
