"""Text and JSON files that are written whole or not at all, for run folders and records."""

from __future__ import annotations

import json
import os
from typing import Any

from gpunet.backend.files import open_atomic

__all__ = ["write_json", "write_text_atomic"]


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8, replacing an old file in one step; line ends are kept as they are.

    Raises:
        OSError: the file cannot be written; the message names it, and an old file is intact.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> write_text_atomic(path, "done\\n")
    >>> path.read_text()
    'done\\n'
    """
    data = text.encode("utf-8")
    with open_atomic(path) as file:
        file.write(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, replacing an old file in one step; keys keep their order.

    Raises:
        TypeError: the value holds something that JSON cannot say; nothing is written.
        ValueError: it holds NaN or an infinity, or itself.
        OSError: the file cannot be written; an old file is intact.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.json"
    >>> write_json(path, {"epoch": 3})
    >>> json.loads(path.read_text())
    {'epoch': 3}
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text_atomic(path, text + "\n")
