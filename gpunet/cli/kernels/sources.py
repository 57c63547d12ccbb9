"""Which kernel files and variants an action of `gpunet kernels` works on."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpunet.backend import kernels, launch_text
from gpunet.errors import KernelError, layout_message

__all__ = ["add_defines", "in_words", "launches_of", "sources", "variants"]


def add_defines(parser: argparse.ArgumentParser) -> None:
    """Add the option -D."""
    parser.add_argument(
        "-D",
        dest="defines",
        type=_define,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="define a macro; given twice, it makes two variants",
    )


def _define(text: str) -> tuple[str, str]:
    """Read NAME=VALUE, or NAME, which is 1."""
    name, _, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value or "1"


def in_words(defines: Mapping[str, str]) -> str:
    """Return macros as one writes them.

    >>> in_words({"REAL": "float", "TILE": "16"})
    'REAL=float TILE=16'
    """
    return " ".join(f"{name}={value}" for name, value in defines.items())


def sources(names: Sequence[str]) -> list[tuple[kernels.Source, bool]]:
    """Return kernel files and whether they are gpunet's own, which all are where no name is given."""
    return [_find(name) for name in names or kernels.kernel_files()]


def _find(name: str) -> tuple[kernels.Source, bool]:
    if not Path(name).is_file() and name in kernels.kernel_files():
        return kernels.load(name), True
    return kernels.read(name), False


def launches_of(file: str) -> list[launch_text.Launch]:
    """Return the launches that a kernel file carries."""
    return launch_text.launches_in(file, Path(file).read_text(encoding="utf-8"))


def variants(source: kernels.Source, own: bool, defines: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the sets of macros to build a file with, from (name, value) pairs.

    gpunet's own files have known values, from which the pairs select.

    Raises:
        KernelError: a value is missing, or none is left.
    """
    given: dict[str, list[str]] = {}
    for name, value in defines:
        given.setdefault(name, []).append(value)
    if own:
        chosen = [v for v in kernels.variants(source.file) if all(v[m] in given.get(m, [v[m]]) for m in v)]
        if chosen:
            return chosen
        known = "; ".join(f"{macro}: {', '.join(kernels.MACRO_VALUES[macro])}" for macro in source.macros)
        raise KernelError(layout_message(source.file, "there is no such variant.", expected=known))
    if missing := [macro for macro in source.macros if macro not in given]:
        raise KernelError(
            layout_message(
                source.file,
                f"the file needs the macro {', '.join(missing)}.",
                hint=" ".join(f"-D {macro}=..." for macro in missing),
            )
        )
    return [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]
