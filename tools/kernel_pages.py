"""Write docs/kernels: a page per kernel file, made from the comments in the files themselves.

    python -m tools.kernel_pages          write the pages that are out of date
    python -m tools.kernel_pages --check  only say which are

Run it in the root of a checkout; it needs the extra `test`, whose cases say which ops launch a kernel. What it reads:

- the comments in kernels/, as tools/kernel_comments.py tells;
- the signatures, launch bounds and variants that gpunet itself compiles;
- bench/results/gpu/*.json: what was measured on a GPU. Dry runs, and rows with wrong results, do not count.

registers.md beside the pages is made by tools.kernel_registers, since it takes a compiler and minutes.

exit codes: 0 up to date or written, 1 out of date (--check), or a comment that says too little; 2 wrong usage
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.gpu import table
from bench.report import duration
from gpunet.backend import kernels
from gpunet.io import write_text_atomic
from tools.kernel_comments import Entry, comment, entries, head_of

ROOT = Path(__file__).resolve().parents[1]
PAGES, RESULTS = ROOT / "docs" / "kernels", ROOT / "bench" / "results" / "gpu"
REGISTERS = "registers.md"
NOT_MEASURED = "not yet measured"


# Where else a kernel is met.


def callers() -> dict[str, dict[str, list[str]]]:
    """Return by kernel the ops whose cases launch it, and for which of their results; else the tests that do."""
    from tests.cases import CASES, SPECIALS

    found: dict[str, dict[str, list[str]]] = {}
    for case in CASES:
        for what, launched in (("forward", case.launches), *case.grad_launches.items()):
            for kernel in launched:
                results = found.setdefault(kernel, {}).setdefault(case.op.__name__, [])
                results += [what] if what not in results else []
    tests = {kernel: str(special) for special in SPECIALS for kernel in special.kernels if kernel not in found}
    return found | {kernel: {test: ["test"]} for kernel, test in tests.items()}


def measured(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return by kernel the rows of a GPU's result files in which gpunet launched it and was right."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        content = table.read(path)
        if content["dry_run"] or content["benchmark"] != "gpu":
            continue
        where = f"{content['gpu']['name']}, {content['date'][:10]}, commit {content['commit'][:10]}"
        for result in content["results"]:
            extra = result["extra"]
            row = f"{extra['op']}, {extra['case']}, {extra['precision']}"
            if any(line.startswith(f"{row}: ") for line in content["wrong"]):
                continue
            for kernel in extra.get("kernels", ()):
                others = [other for other in extra["kernels"] if other != kernel]
                shown = {"row": row, "time": result["median"], "of_roof": extra["of_roof"]}
                found.setdefault(kernel, []).append({**shown, "others": others, "where": where})
    return found


# The pages.


def pages(results: Path = RESULTS) -> dict[str, str]:
    """Return the text of every page by its name, but for registers.md.

    Raises:
        ValueError: a comment says too little.
    """
    by_file = {file: entries(file) for file in kernels.kernel_files()}
    ops, figures = callers(), measured(results)
    made = {f"{Path(file).stem}.md": "\n".join(_page(file, found, ops, figures)) for file, found in by_file.items()}
    return {"README.md": "\n".join(_index(by_file, figures)), "shared.md": "\n".join(_shared()), **made}


def _generated(source: str) -> str:
    return f"<!-- Made by `python -m tools.kernel_pages` from {source}: edit there. -->\n"


def _index(by_file: dict[str, list[Entry]], figures: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield _generated("the comments in kernels/")
    yield "# Kernels\n"
    yield (
        "What each kernel makes, what bounds it, and what was measured on a GPU: the share of the least time that the\n"
        "GPU allows, at best. Code that kernels share is in [shared.md](shared.md), with figures of how tiles lie in\n"
        f"shared memory and in registers; registers and spills are in [{REGISTERS}]({REGISTERS}).\n"
    )
    yield "| kernel | makes | bound | on a GPU |\n|---|---|---|---|"
    for file, found in by_file.items():
        for entry in found:
            rows = figures.get(entry.name, [])
            shares = [row["of_roof"] for row in rows if row["of_roof"] is not None]
            figure = f"{max(shares):.0%} of the roof" if shares else "measured" if rows else NOT_MEASURED
            link = f"[{entry.name}]({Path(file).stem}.md#{entry.name})"
            bound = re.split("[:;]", entry.comment.bound)[0].rstrip(".")
            yield f"| {link} | {entry.comment.first_sentence} | {bound} | {figure} |"
    yield ""


def _page(
    file: str, found: list[Entry], ops: dict[str, dict[str, list[str]]], figures: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    source = kernels.load(file)
    head = head_of((kernels.kernel_dir() / file).read_text(encoding="utf-8"))
    yield _generated(f"the comments in kernels/{file}")
    yield f"# {file}\n\n{head.body}\n"
    variants = kernels.variants(file)
    taken = {macro: ", ".join(dict.fromkeys(f"`{v[macro]}`" for v in variants)) for macro in source.macros}
    shared = dict.fromkeys(re.findall(r'^#line 1 "(\w+\.cuh)"$', source.text, re.MULTILINE))
    yield from (f"- `{macro}`: {values}" for macro, values in taken.items())
    yield f"- Variants that are compiled: {len(variants)}; [registers]({REGISTERS}#{_anchor(file)})"
    yield f"- Shared code: {', '.join(f'[{name}](shared.md#{_anchor(name)})' for name in shared)}\n"
    for entry in found:
        yield f"## {entry.name}\n\n{entry.comment.body}\n\n```cuda\n{entry.signature}\n```\n"
        yield f"- Bound: {entry.comment.bound}\n- Traffic: {entry.comment.traffic}"
        launching = (f"`{op}` ({', '.join(results)})" for op, results in ops.get(entry.name, {}).items())
        yield f"- Launched by: {', '.join(launching)}"
        yield from _figures(figures.get(entry.name, []))


def _figures(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        yield f"- On a GPU: {NOT_MEASURED}\n"
        return
    yield "- On a GPU:\n\n| call | time | of the roof | with | where |\n|---|---|---|---|---|"
    for row in rows:
        share = "-" if row["of_roof"] is None else f"{row['of_roof']:.0%}"
        others = ", ".join(f"`{other}`" for other in row["others"])
        yield f"| {row['row']} | {duration(row['time'])} | {share} | {others} | {row['where']} |"
    yield ""


def _shared() -> Iterator[str]:
    """Yield the heads of the headers, and those of their comments that have figures."""
    yield _generated("the comments in kernels/*.cuh")
    yield "# What kernels share\n"
    for path in sorted(kernels.kernel_dir().glob("*.cuh")):
        text = path.read_text(encoding="utf-8")
        yield f"## {path.name}\n\n{head_of(text).body}\n"
        for lines in re.findall(r"^(?: *//.*\n)+", text, re.MULTILINE)[1:]:
            if "```" in (body := comment(lines).body):
                yield f"{body}\n"


def _anchor(heading: str) -> str:
    """Return what GitHub makes of a heading."""
    return heading.replace(".", "")


def main(arguments: Sequence[str] | None = None, folder: Path = PAGES) -> int:
    """Write or check the pages; return the exit code."""
    about, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tools.kernel_pages",
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a page is out of date")
    options = parser.parse_args(arguments)
    try:
        wanted = pages()
    except (ValueError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    stale = [name for name, text in wanted.items() if there.get(name) != text]
    gone = sorted(there.keys() - wanted.keys() - {REGISTERS})
    if options.check:
        print("".join(f"out of date: {name}\n" for name in (*stale, *gone)), end="")
        return 1 if stale or gone else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        write_text_atomic(folder / name, wanted[name])
    for name in gone:
        (folder / name).unlink()
    print("".join([*(f"written: {name}\n" for name in stale), *(f"removed: {name}\n" for name in gone)]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
