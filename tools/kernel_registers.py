"""Write docs/kernels/registers.md: registers, shared memory and spills of every kernel, by NVRTC, without a GPU.

    python -m tools.kernel_registers

Run it in the root of a checkout. It compiles every variant, which takes minutes, unless the page names the code of the
kernels as it is now.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from gpunet.backend import kernels
from gpunet.cli import main as cli
from gpunet.io import write_text_atomic
from tools.kernel_pages import PAGES, REGISTERS

ARCHS = (80, 90, 120)


def digest() -> str:
    """Return a digest of the code of all kernels; comments and spaces do not count."""
    text = "".join(re.sub(r"//.*|#line.*|\s", "", kernels.load(file).text) for file in kernels.kernel_files())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def page(compiled: dict[str, Any]) -> str:
    """Lay out what `gpunet kernels compile --json` says, the worst variant of each kernel."""
    used: dict[str, dict[str, dict[int, list[tuple[int, int, int]]]]] = {}
    for row in compiled["rows"]:
        cells = used.setdefault(row["file"], {}).setdefault(row["kernel"], {})
        cells.setdefault(row["arch"], []).append((row["registers"], row["shared_bytes"], row["spill_bytes"]))
    lines = [
        f"<!-- Made by `python -m tools.kernel_registers` with NVRTC {compiled['nvrtc']}, of code {digest()}. -->\n",
        "# Registers\n",
        "The most that any variant uses: registers of a thread / bytes of static shared memory of a block / bytes",
        "spilled. Tiles, and convolutions of few channels, have dynamic shared memory besides. As the code is now,",
        "variant by variant: `gpunet kernels compile`.\n",
    ]
    for file, by_kernel in used.items():
        lines.append(f"## {file}\n\n| kernel |{''.join(f' sm_{arch} |' for arch in ARCHS)}\n|---|{'---|' * len(ARCHS)}")
        for name, cells in by_kernel.items():
            worst = (" / ".join(str(max(figure)) for figure in zip(*cells[arch], strict=True)) for arch in ARCHS)
            lines.append(f"| {name} | {' | '.join(worst)} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, if the code has changed since it was made; return the exit code."""
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(
        prog="python -m tools.kernel_registers", description=__doc__, formatter_class=formatter
    ).parse_args(arguments)
    path = PAGES / REGISTERS
    if path.is_file() and digest() in path.read_text(encoding="utf-8"):
        print(f"up to date: {REGISTERS}")
        return 0
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = cli.main(["kernels", "compile", "--json", "--arch", ",".join(map(str, ARCHS))])
    if code:
        print("a kernel does not compile, or spills: gpunet kernels compile", file=sys.stderr)
        return code
    write_text_atomic(path, page(json.loads(out.getvalue())))
    print(f"written: {REGISTERS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
