"""Reads what the comments in kernels/ say of each kernel.

They are the one at the head of FILE.cu, which holds for all of its kernels, and the one right above each kernel. A
paragraph that begins with "Bound:" or "Traffic:" says just that, for the file or for one kernel. Indented lines are
figures, and stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpunet.backend import kernels

__all__ = ["Comment", "Entry", "comment", "entries", "head_of"]

_MAKERS = ("thread", "warp", "block")


@dataclass(frozen=True)
class Comment:
    """What a comment says, in Markdown: paragraphs and figures, and the two facts that every kernel needs."""

    body: str
    bound: str
    traffic: str

    @property
    def first_sentence(self) -> str:
        """What the kernel makes, for the index."""
        match = re.match(r".+?\.(?=\s|$)", self.body)
        return match[0] if match else self.body


def comment(lines: str) -> Comment:
    """Read adjacent lines of // comments.

    >>> comment("// One thread makes one.\\n// Of two.\\n// Bound: memory.\\n//   a  b\\n")
    Comment(body='One thread makes one. Of two.\\n\\n```text\\n  a  b\\n```', bound='memory.', traffic='')
    """
    blocks: list[str] = []
    last = ""  # what the line before was
    for line in re.findall(r"^ *//(?: ?)(.*)$", lines, re.MULTILINE):
        kind = "figure" if line.startswith(" ") else "prose" if line else ""
        if kind and kind == last and not line.startswith(("Bound:", "Traffic:")):
            blocks[-1] += f"\n{line}" if kind == "figure" else f" {line}"
        elif kind:
            blocks.append(line)
        last = kind
    facts = {"Bound": "", "Traffic": ""}
    body = []
    for block in blocks:
        name, _, said = block.partition(": ")
        if name in facts:
            facts[name] = _escaped(said)
        else:
            body.append(f"```text\n{block}\n```" if block.startswith(" ") else _escaped(block))
    return Comment("\n\n".join(body), facts["Bound"], facts["Traffic"])


def _escaped(prose: str) -> str:
    return prose.replace("<", "\\<").replace("|", "\\|")


def head_of(text: str) -> Comment:
    """Return the comment at the head of a file."""
    match = re.match(r"(?://.*\n)*", text)
    return comment(match[0] if match else "")


@dataclass(frozen=True)
class Entry:
    """A kernel on its page: its own comment, with the bound and the traffic of its file where it has none."""

    name: str
    comment: Comment
    signature: str


def entries(file: str) -> list[Entry]:
    """Return the kernels of a file.

    Raises:
        ValueError: a comment says too little.
    """
    text = (kernels.kernel_dir() / file).read_text(encoding="utf-8")
    head, found = head_of(text), []
    for name in kernels.load(file).kernels:
        match = re.search(rf'((?:^//.*\n)*)^(extern "C" __global__ [^{{]*?\b{name}\([^)]*\))', text, re.MULTILINE)
        if match is None:
            raise ValueError(f"{file}: the declaration of {name} cannot be read")
        own = comment(match[1])
        said = Comment(own.body, own.bound or head.bound, own.traffic or head.traffic)
        makers = {word for word in _MAKERS if word in f"{own.body} {head.body}".lower()}
        lacks = [
            *([] if own.body else ["what it makes"]),
            *(f"what a {word} does" for word in _MAKERS if word not in makers),
            *(f'"{label}:"' for label, fact in (("Bound", said.bound), ("Traffic", said.traffic)) if not fact),
        ]
        if lacks:
            raise ValueError(f"{file}: the comments on {name} and on the file do not say {', '.join(lacks)}")
        found.append(Entry(name, said, match[2]))
    return found
