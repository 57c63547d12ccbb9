"""CUDA C++ as tokens: as much of the language as mutation needs, and no more.

Comments, strings, preprocessor lines and what only the GPU's compiler sees are masked by spaces, so that places in the
tokens are places in the text.
Relied on: binary operators stand between spaces, template brackets do not (clang-format sees to it).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

_MASKED = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|^[ \t]*#(?:\\\n|[^\n])*", re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(
    r"[A-Za-z_]\w*|\d[\w.]*|<<=|>>=|\.\.\.|->|\+\+|--|<<|>>|[<>=!]=|&&|\|\||[-+*/%&|^]=|::|\S",
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_KEYWORDS = {"return", "else", "case", "throw", "new", "delete", "sizeof", "goto", "do"}


def _mask(text: str) -> str:
    """Put spaces in the place of what the emulator's compiler does not see, and of preprocessor lines."""
    masked = _MASKED.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    lines = masked.split("\n")
    conditions: list[bool | None] = []  # None: all branches count, in one variant or another
    taken: list[bool] = []  # whether the emulator has taken an earlier branch, or this one
    for i, line in enumerate(text.split("\n")):
        if directive := re.match(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b(.*)", line):
            word, condition = directive.groups()
            if word in ("if", "ifdef", "ifndef"):
                about = "GPUNET_EMULATOR" in condition or ("__CUDA_ARCH__" not in condition and None)
                conditions.append(not about if about is not None and word == "ifndef" else about)
                taken.append(conditions[-1] is True)
            elif word == "endif":
                conditions.pop(), taken.pop()
            elif conditions[-1] is not None:
                conditions[-1] = not taken[-1]
                taken[-1] = True
        if False in conditions:
            lines[i] = " " * len(lines[i])
    return "\n".join(lines)


class Token(NamedTuple):
    """A token and where it stands in the text."""

    text: str
    start: int
    end: int

    @property
    def is_name(self) -> bool:
        return (self.text[0].isalpha() or self.text[0] == "_") and self.text not in _KEYWORDS

    @property
    def is_value_end(self) -> bool:
        """Whether an operand may end here, so that a + or - that follows has two operands."""
        return self.is_name or self.text[0].isdigit() or self.text in (")", "]")


class Code:
    """A text, its tokens, and which brackets belong together."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [Token(match[0], *match.span()) for match in _TOKEN.finditer(_mask(text))]
        self.partner: dict[int, int] = {}
        open_brackets: list[int] = []
        for i, token in enumerate(self.tokens):
            if token.text in _CLOSING:
                open_brackets.append(i)
            elif open_brackets and token.text == _CLOSING[self.tokens[open_brackets[-1]].text]:
                opening = open_brackets.pop()
                self.partner[opening], self.partner[i] = i, opening

    def is_spaced(self, i: int) -> bool:
        """Whether a token stands between white space, as a binary operator does."""
        token = self.tokens[i]
        return self.text[token.start - 1].isspace() and self.text[token.end].isspace()

    def find(self, *texts: str) -> list[int]:
        return [i for i, token in enumerate(self.tokens) if token.text in texts]

    def left(self, i: int, stop: Callable[[str], bool]) -> int:
        """The first token of the operand that ends before token i: brackets are stepped over."""
        while i > 0 and not stop(self.tokens[i - 1].text):
            if self.tokens[i - 1].text in "([{":
                break
            i = self.partner.get(i - 1, i - 1)
        return i

    def right(self, i: int, stop: Callable[[str], bool]) -> int:
        """The last token of the operand that begins after token i."""
        while i + 1 < len(self.tokens) and not stop(self.tokens[i + 1].text):
            if self.tokens[i + 1].text in ")]}":
                break
            i = self.partner.get(i + 1, i + 1)
        return i

    def is_declarator(self, bracket: int) -> bool:
        """Whether [ gives a size, as in `int at[3], size[3];`, or is no index at all, as in `[&](int m) {...}`."""
        base = bracket - 1
        while self.tokens[base].text == "]":
            base = self.partner[base] - 1
        if self.tokens[base].text == ")":
            return self.tokens[self.partner[base] + 1].text == "&"  # a reference to an array
        if not self.tokens[base].is_name:
            return True
        before = self.tokens[base - 1]
        if before.is_name:
            return True
        if before.text in ("*", "&") and not self.is_spaced(base - 1):
            return True
        # A later declarator: `int a = x[0], b[3];`
        start = self.left(base, lambda text: text in (";", "{", "}"))
        if before.text != "," or self.tokens[start - 1].text not in (";", "{", "}"):
            return False
        return self.tokens[start].is_name and self.tokens[start + 1].is_name

    @functools.cached_property
    def blocks(self) -> list[tuple[str, int, int]]:
        """Functions, structs and aliases (`using`) at file scope: name, first and last token."""
        found = []
        begin = i = 0
        while i < len(self.tokens):
            text, end = self.tokens[i].text, self.partner.get(i, i)
            if text == "{":
                found.append((self._name(begin, i), begin, end))
            elif text == "using":
                found.append((self.tokens[i + 1].text, i, self.right(i, lambda text: text == ";") + 1))
            if text in ("{", ";"):
                begin = end + 1
            i = end + 1 if text in "({" else i + 1
        return found

    def _name(self, begin: int, end: int) -> str:
        for i in range(begin, end):
            token, following = self.tokens[i : i + 2]
            if token.text == "struct":
                aligned = following.text == "alignas"  # struct alignas(16) Name
                return self.tokens[self.partner[i + 2] + 1 if aligned else i + 1].text
            if token.is_name and following.text == "(" and not token.text.startswith("__"):
                return token.text
        return ""

    def where(self, position: int) -> str:
        """The name of the function or struct at file scope that holds a position, or ''."""
        for name, first, last in self.blocks:
            if self.tokens[first].start <= position < self.tokens[last].end:
                return name
        return ""

    def users(self, name: str) -> set[str]:
        """The functions and structs at file scope that may reach one by its name, directly or not; itself too."""
        mentions = [(block, {t.text for t in self.tokens[first:last]}) for block, first, last in self.blocks]
        reached, size = {name}, 0
        while len(reached) > size:
            size = len(reached)
            reached |= {block for block, words in mentions if words & reached}
        return reached
