"""`gpunet warmup`: compiles all kernels ahead, for GPUs that need not be here."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpunet.backend import check, cubins, cupy, kernels, nvrtc
from gpunet.cli.archs import add_arch, require_supported
from gpunet.errors import KernelError, layout_message

__all__ = ["add_parser"]

_EPILOG = """\
examples:
  gpunet warmup                  for the GPUs of this computer
  gpunet warmup --arch 80,90     for A100 and H100, which need not be here: in the build of a container image

The machine code lies in $GPUNET_CACHE_DIR/cubins, else $XDG_CACHE_HOME/gpunet/cubins, else ~/.cache/gpunet/cubins. A
program on a GPU takes from there what was made from the same source, for its architecture, by the version of NVRTC that
its CuPy has; it compiles the rest when it first needs it. What is there already is not compiled again, and several
`gpunet warmup` may run at once. The folder may be deleted at any time.

architectures: 75 T4, 80 A100, 86 RTX 30, 89 RTX 40, 90 H100, 100 B200, 120 RTX 50

exit codes: 0 all is there, 1 an error: no GPU here and no --arch, no NVRTC, a kernel that does not compile
"""

Job = tuple[kernels.Source, dict[str, str], int]


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "warmup",
        help="compile all kernels ahead, so that no program waits for it",
        description="Compile gpunet's kernels in every variant to machine code that programs load later.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arch(parser, "those of the GPUs here")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compile what is not there yet; the last line says what it took."""
    started = time.perf_counter()
    if reason := nvrtc.unavailable():
        raise KernelError(layout_message("warmup", f"{reason}."))
    archs = options.arch or _archs_here()
    require_supported(archs)
    folder = cubins.folder()
    if folder is None:
        raise KernelError(layout_message("warmup", "there is no home folder.", hint="set GPUNET_CACHE_DIR"))
    folder.mkdir(parents=True, exist_ok=True)
    made = list(_in_parallel(_jobs(archs), options.quiet))
    failures = [error for _, _, error in made if error]
    for error in failures:
        print(f"gpunet: {error}", file=sys.stderr)
    megabytes = sum(path.stat().st_size for path, _, _ in made if path) / 1e6
    built = sum(new for _, new, _ in made)
    print(
        f"{len(made) - len(failures)} variants for {', '.join(f'sm_{arch}' for arch in archs)}: {built} compiled,"
        f" {len(made) - len(failures) - built} were there; {megabytes:.1f} MB in {folder};"
        f" {time.perf_counter() - started:.0f} s"
    )
    return 1 if failures else 0


def _archs_here() -> list[int]:
    """Return the architectures of the GPUs of this computer."""
    if reason := cupy.unavailable():
        raise KernelError(
            layout_message("warmup", "there is no GPU here to compile for.", inputs=[reason], hint="give --arch 80,90")
        )
    return cupy.archs()


def _jobs(archs: Sequence[int]) -> list[Job]:
    """Return all variants of all files; those on tensor cores only for the GPUs that have them."""
    return [
        (source, defines, arch)
        for source in map(kernels.load, kernels.kernel_files())
        for defines in kernels.variants(source.file)
        for arch in archs
        if kernels.runs_on(defines, arch)
    ]


def _in_parallel(jobs: Sequence[Job], quiet: bool) -> Iterator[tuple[Path | None, bool, str]]:
    """Compile on all CPUs (NVRTC runs outside of Python's lock), with a progress bar on a terminal."""
    from tqdm import tqdm

    with ThreadPoolExecutor(check.cpus()) as pool:
        yield from tqdm(
            pool.map(_compile, jobs), total=len(jobs), unit="file", file=sys.stderr, disable=quiet or None, leave=False
        )


def _compile(job: Job) -> tuple[Path | None, bool, str]:
    """Return where the code of a variant lies, whether it is new, and why there is none."""
    if there := cubins.find(*job, nvrtc.version()):
        return there, False, ""
    try:
        return cubins.store(*job, nvrtc.version(), nvrtc.compile_source(*job, allow_spills=True).cubin), True, ""
    except nvrtc.CompileError as error:
        return None, False, str(error)
