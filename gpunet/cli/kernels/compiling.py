"""`gpunet kernels compile`: registers, shared memory and spills of kernels, for GPUs that are not here."""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpunet.backend import check, kernels, nvrtc
from gpunet.cli.archs import add_arch, require_supported
from gpunet.cli.kernels.sources import add_defines, in_words, sources, variants
from gpunet.errors import KernelError

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  gpunet kernels compile                                        gpunet's own kernels, every variant, seven GPUs
  gpunet kernels compile conv.cu -D REAL=half --arch 80,90      one of them
  gpunet kernels compile saxpy.cu -D REAL=float -D REAL=double  your file; a macro given twice makes two variants
  gpunet kernels compile saxpy.cu --json > usage.json           all figures for a script

The figures in the table are registers per thread for each architecture (75: T4, 80: A100, 86: RTX 30, 89: RTX 40,
90: H100, 100: B200, 120: RTX 50). `limit` is what the launch bounds allow: 65536 registers of a multiprocessor over
threads per block times blocks, at most 255. A `!` marks spills or more registers than that, an `x` what does not
compile. NVRTC compiles as CuPy would; no GPU or driver is needed.

exit codes: 0 all well, 1 something does not compile, spills or exceeds its limit
"""


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "compile",
        help="compile for GPUs that are not here: registers, shared memory, spills",
        description="Compile kernels with NVRTC and show what they use.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", metavar="FILE.cu", help="your kernel files (default: gpunet's own)")
    add_arch(parser, ",".join(map(str, nvrtc.ARCHS)))
    add_defines(parser)
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile kernels and show what they use."""
    found = sources(options.files)
    unknown = {name for name, _ in options.defines} - {macro for source, _ in found for macro in source.macros}
    if unknown and all(own for _, own in found):
        raise KernelError(f"gpunet's kernels have no macro {', '.join(sorted(unknown))}; list: gpunet kernels list")
    archs = options.arch or list(nvrtc.ARCHS)
    require_supported(archs)
    jobs = [(s, defines, arch) for s, own in found for defines in variants(s, own, options.defines) for arch in archs]
    rows = list(itertools.chain.from_iterable(_in_parallel(jobs, options.quiet)))
    if options.json:
        print(json.dumps({"nvrtc": nvrtc.version(), "rows": rows}, indent=1))
    else:
        print("\n".join(_table(rows, archs)))
    return 1 if any(row["problem"] for row in rows) else 0


Job = tuple[kernels.Source, dict[str, str], int]


def _in_parallel(jobs: Sequence[Job], quiet: bool) -> Iterator[list[dict[str, Any]]]:
    """Compile on all CPUs (NVRTC runs outside of Python's lock), with a progress bar on a terminal."""
    from tqdm import tqdm

    with ThreadPoolExecutor(check.cpus()) as pool:
        results = pool.map(_compile, jobs)
        yield from tqdm(results, total=len(jobs), unit="file", file=sys.stderr, disable=quiet or None, leave=False)


def _compile(job: Job) -> list[dict[str, Any]]:
    """Return a row per kernel of one file, variant and architecture; one without a kernel if it does not compile."""
    source, defines, arch = job
    where = {"file": source.file, "defines": defines, "arch": arch}
    try:
        compiled = nvrtc.compile_source(source, defines, arch, allow_spills=True)
    except nvrtc.CompileError as error:
        return [{**where, "kernel": None, "problem": f"does not compile:\n{_places(error.log)}", "warnings": ""}]
    return [
        {
            **where,
            "kernel": name,
            "registers": usage.registers,
            "register_limit": usage.register_limit,
            "shared_bytes": usage.shared_bytes,
            "spill_bytes": usage.spill_bytes,
            "max_threads": usage.max_threads,
            "blocks": usage.blocks,
            "problem": _problem(usage),
            "warnings": _places(compiled.warnings),
        }
        for name, usage in _as_in_file(compiled.usage, source)
    ]


def _as_in_file(usage: Mapping[str, nvrtc.Usage], source: kernels.Source) -> list[tuple[str, nvrtc.Usage]]:
    """Return kernels in the order of the file, after them those that have no plain name for want of extern "C"."""
    places = {name: place for place, name in enumerate(source.kernels)}
    return sorted(usage.items(), key=lambda item: places.get(item[0], len(places)))


def _places(log: str) -> str:
    """Write NVRTC's file(line) as file:line, which editors and terminals know."""
    return re.sub(r"^(.+?)\((\d+)\): ", r"\1:\2: ", log.strip(), flags=re.MULTILINE)


def _problem(usage: nvrtc.Usage) -> str:
    """Say what is wrong with what a kernel uses, or nothing."""
    if usage.spill_bytes:
        return f"spills {usage.spill_bytes} bytes of registers to memory"
    if usage.registers > usage.register_limit:
        bounds = f"{usage.max_threads} threads x {usage.blocks} blocks"
        return f"uses {usage.registers} registers, above the limit of {usage.register_limit} for {bounds}"
    return ""


def _table(rows: Sequence[Mapping[str, Any]], archs: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table, then the problems, then the sum."""
    lines: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row["file"], row["kernel"] or "", in_words(row["defines"])), {})[row["arch"]] = row
    variant_width = max(len("variant"), *(len(variant) for *_, variant in lines))
    yield f"{'kernel':<26}{'variant':<{variant_width}}{'limit':>7}{'shared':>8}" + "".join(f"{a:>6}" for a in archs)
    order = {line[:2]: number for number, line in reversed(list(enumerate(lines)))}
    for (file, kernel, variant), by_arch in sorted(lines.items(), key=lambda line: order[line[0][:2]]):
        some = next(iter(by_arch.values()))
        cells = "".join(f"{_cell(by_arch.get(arch)):>6}" for arch in archs)
        limit, shared = some.get("register_limit", ""), max(row.get("shared_bytes", 0) for row in by_arch.values())
        yield f"{kernel or file:<26}{variant:<{variant_width}}{limit:>7}{shared:>8}{cells}"
    yield from _notes(rows)
    count = len({(row["file"], row["kernel"]) for row in rows if row["kernel"]})
    problems = sum(1 for row in rows if row["problem"])
    verdict = f"{problems} problems" if problems else "all compile, none spills, all are within their limits"
    yield f"{count} kernels, {len(rows)} combinations with variants and architectures: {verdict}"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return "x" if row["kernel"] is None else f"{row['registers']}{'!' if row['problem'] else ''}"


def _notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each problem and warning once, with the architectures that have it."""
    notes: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        who = " ".join(filter(None, [row["kernel"] or row["file"], in_words(row["defines"])]))
        for text in filter(None, [row["problem"], row["warnings"]]):
            notes.setdefault((who, text), []).append(row["arch"])
    for (who, text), where in notes.items():
        yield f"{who} for {', '.join(f'sm_{arch}' for arch in where)}: {text}"
