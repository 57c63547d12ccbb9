"""`gpunet kernels check`: races, bounds and the order of threads, on the emulator."""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpunet import emulator
from gpunet.backend import check, kernels, launch_text
from gpunet.backend.child import BANKS, MODES, run_in_child
from gpunet.cli.kernels.sources import add_defines, in_words, launches_of, variants
from gpunet.errors import KernelError, layout_message

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  gpunet kernels check saxpy.cu
  gpunet kernels check saxpy.cu --launch 'saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)'
  gpunet kernels check tiles.cu -D TILE=16 --launch \\
      'product<<<(2, 3), (16, 16), shared=2048>>>(c=float[35, 18], a=float[35, 23], b=float[23, 18], count=int[1]=0)'
  gpunet kernels check

A launch names the kernel, grid and block, dynamic shared memory in bytes, and every argument by its parameter's name:
arrays as type[sizes], numbers, true, false, null. Arrays hold seeded random numbers (integers from 0 to 7), or one
value: int[1]=0. Choose sizes with ragged edges and few threads. The file itself can carry launches, in comment lines
that are checked when no --launch is given:

  // launch: saxpy<<<4, 64>>>(y=float[200], x=float[200], a=2.0, n=200)

race        two threads that meet in memory without a barrier between them; barriers that some threads skip
bounds      the first access outside of an array or of shared memory, and undefined arithmetic
schedules   the same bits whether threads run forward, in reverse or at random; deadlocks

Bank conflicts of shared memory come as notes, by line: they make a kernel slow, not wrong, and are no finding.

What a kernel prints by printf is not shown.

Without a file, gpunet's own kernels run one training step of a tiny network in the same modes. That covers the
kernels it lists; the complete proof is the test suite: pytest tests/kernels.

exit codes: 0 no finding, 1 a finding, or a launch that cannot be read
"""


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "check",
        help="find races, accesses out of bounds and results that depend on the order of threads",
        description="Run kernels on the CPU emulator under its checks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="FILE.cu", help="your kernel file (default: gpunet's own kernels)")
    parser.add_argument("--launch", action="append", metavar="TEXT", help="a launch to check; may be given again")
    add_defines(parser)
    parser.add_argument("--seed", type=_seed, default=0, help="of the random contents of arrays (default: 0)")
    parser.add_argument("--timeout", type=_seconds, default=60.0, help="seconds per launch and mode (default: 60)")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.set_defaults(run=run)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected an integer >= 0, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 < float(text) <= 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of seconds > 0, got {text!r}")
    return float(text)


def run(options: argparse.Namespace) -> int:
    """Check a file, or gpunet's own kernels."""
    if reason := emulator.unavailable():
        raise KernelError(f"kernels cannot be checked here: {reason}")
    if options.file is None:
        if options.launch or options.defines:
            raise KernelError("--launch and -D need a kernel file: gpunet kernels check FILE.cu --launch ...")
        return _check_own(options)
    return _check_file(options)


# Somebody's file.


def _check_file(options: argparse.Namespace) -> int:
    source = kernels.read(options.file)
    launches = [launch_text.parse(text) for text in options.launch or ()] or launches_of(source.file)
    if not launches:
        raise KernelError(
            layout_message(
                source.file,
                "how its kernels are launched is not known.",
                inputs=[f"// launch: {_sketch(kernel)}" for kernel in source.kernels.values()],
                expected="--launch, or such lines in the file with sizes of your choice",
                hint="gpunet kernels check --help",
            )
        )
    results = check.check(
        source, variants(source, False, options.defines), launches, seed=options.seed, timeout=options.timeout
    )
    unchecked = [name for name in source.kernels if name not in {launch.kernel for launch in launches}]
    if options.json:
        rows = [
            {"launch": r.launch.text, "defines": r.defines, "findings": r.findings, "bank_conflicts": r.bank_conflicts}
            for r in results
        ]
        print(json.dumps({"file": source.file, "results": rows, "not_checked": unchecked}, indent=1))
    else:
        print("\n".join(_report(results, unchecked)))
    return 1 if any(finding for result in results for finding in result.findings.values()) else 0


def _report(results: Sequence[check.Result], unchecked: Sequence[str]) -> Iterator[str]:
    for result in results:
        yield " ".join(filter(None, [result.launch.text, in_words(result.defines)]))
        yield from (f"  {mode:<11}{finding or 'PASS'}" for mode, finding in result.findings.items())
        yield from (f"  {'note':<11}{conflict}" for conflict in result.bank_conflicts)
    if unchecked:
        yield f"not checked, for want of a launch: {', '.join(unchecked)}"
    found = sum(1 for result in results for finding in result.findings.values() if finding)
    yield f"launches: {len(results)}, findings: {found}"


def _sketch(kernel: kernels.Kernel) -> str:
    """Return a launch of a kernel, for the user to put sizes in.

    >>> source = kernels.parse("a.cu", 'extern "C" __global__ void f(float* y, float a, int n) {}')
    >>> _sketch(source.kernels["f"])
    'f<<<4, 64>>>(y=float[200], a=1.0, n=200)'
    """
    arguments = []
    for p in kernel.parameters:
        scalar = "1.0" if p.type in ("float", "double", "half", "REAL") else "200"
        arguments.append(f"{p.name}={f'{p.type}[200]' if p.pointer else scalar}")
    return f"{kernel.name}<<<4, 64>>>({', '.join(arguments)})"


# gpunet's own kernels.


def _check_own(options: argparse.Namespace) -> int:
    """Run a training step in every mode; list which kernels it launched."""

    modes = (*MODES, BANKS)
    with ThreadPoolExecutor(check.cpus()) as pool:
        outcomes = dict(zip(modes, pool.map(_step, modes, itertools.repeat(options.timeout)), strict=True))
    conflicts = outcomes.pop(BANKS).get("bank_conflicts", [])
    findings = {mode: outcome["finding"] for mode, outcome in outcomes.items()}
    names = [name for file in kernels.kernel_files() for name in kernels.load(file).kernels]
    covered = {mode: [name for name in names if name in outcome["kernels"]] for mode, outcome in outcomes.items()}
    missing = [name for name in names if not any(name in covered[mode] for mode in MODES)]
    if options.json:
        found = {"findings": findings, "covered": covered, "not_covered": missing, "bank_conflicts": conflicts}
        print(json.dumps(found, indent=1))
    else:
        print("\n".join([*_own_table(names, covered, findings, missing), *(f"note: {text}" for text in conflicts)]))
    return 1 if any(findings.values()) else 0


def _step(mode: str, timeout: float) -> dict[str, Any]:
    """Return what a training step gave in a mode: the kernels that it launched, and the finding or bank conflicts."""
    written, ended = run_in_child("gpunet.cli.kernels.step", {"mode": mode, "timeout": timeout}, mode)
    return written[-1] if ended is None else {"kernels": [], "finding": ended}


def _own_table(
    names: Sequence[str],
    covered: Mapping[str, Sequence[str]],
    findings: Mapping[str, str | None],
    missing: Sequence[str],
) -> Iterator[str]:
    yield f"{'a training step launches':<28}" + "".join(f"{mode:>11}" for mode in MODES)
    for name in names:
        if name not in missing:
            passed = ("PASS" if name in covered[mode] and not findings[mode] else "-" for mode in MODES)
            yield f"{name:<28}" + "".join(f"{cell:>11}" for cell in passed)
    for mode, finding in findings.items():
        if finding:
            yield f"{mode}: {finding}"
    if missing:
        yield f"not launched by it: {', '.join(missing)}"
    yield "every kernel, dtype and edge case is proven by the test suite: pytest tests/kernels"
