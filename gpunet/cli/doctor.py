"""`gpunet doctor`: what works here, what does not, and the line that fixes it."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from collections.abc import Iterator
from typing import Any

import gpunet
from gpunet import backend, blas_kernels, emulator
from gpunet.backend import blas, cubins, kernels, nvrtc
from gpunet.backend.cupy import gpu_name
from gpunet.errors import FormatError
from gpunet.ops import choices

__all__ = ["add_parser", "findings"]

_EXTRAS = {"matplotlib": "plots: pip install matplotlib", "safetensors": "checkpoints: pip install safetensors"}


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="show what works on this computer and how to fix what does not",
        description="Show devices, versions, kernels, compiler and BLAS, and the line that fixes what is missing.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the findings."""
    for name, works, text in findings():
        print(f"{'ok' if works else '--':3}{name:18}{text}")
    return 0


def findings() -> Iterator[tuple[str, bool, str]]:
    """Yield (what, whether it works, detail or reason with the fix)."""
    yield "gpunet", True, f"{gpunet.__version__} on Python {platform.python_version()}, {platform.platform()}"
    yield "numpy", True, importlib.metadata.version("numpy")
    facts = blas.describe()
    yield "blas", True, f"{facts['library'].strip()}; kernels for {facts['kernels']}; {facts.get('path', '')}"
    yield _blas_kernels(facts["kernels"])
    yield "threads", True, f"{facts['threads']} (set GPUNET_NUM_THREADS to change)"
    folder = kernels.kernel_dir()
    yield "kernels", True, f"{len(kernels.kernel_files())} files in {folder}"
    yield "device cpu", True, "NumPy"
    cuda = backend.unavailable("cuda")
    fix = 'pip install "gpunet[cuda12]", or gpunet[cuda13], on a machine with an NVIDIA driver'
    yield "device cuda", cuda is None, f"{cuda}: {fix}" if cuda else _gpu()
    reason = emulator.unavailable()
    yield (
        "device emulated",
        reason is None,
        reason or "CUDA kernels on the CPU, compiled by g++; for tests, not for speed",
    )
    reason = nvrtc.unavailable()
    yield "nvrtc", reason is None, reason or f"{nvrtc.version()}: compiles kernels without a GPU"
    yield "warmup", True, _compiled_ahead()
    yield _choices("emulated" if cuda else gpu_name(0))
    for package, purpose in _EXTRAS.items():
        try:
            yield package, True, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, False, f"not installed; {purpose}"


def _blas_kernels(running: str) -> tuple[str, bool, str]:
    """Return the finding on which kernels NumPy's BLAS runs with."""
    wanted = blas_kernels.wanted()
    if wanted is None:
        return "blas kernels", True, f"{running}, as NumPy or the environment chose"
    if running == wanted:
        where = "in programs that import it before numpy, without GPUNET_BLAS_KERNELS=numpy"
        return "blas kernels", True, f"{running}, chosen by gpunet {where}"
    return "blas kernels", False, f"{running}; {wanted} is faster on this CPU: import gpunet before numpy"


def _compiled_ahead() -> str:
    folder = cubins.folder()
    sizes = [path.stat().st_size for path in folder.glob("*.cubin")] if folder else []
    if not sizes:
        return "no kernel is compiled ahead (gpunet warmup would)"
    return f"{len(sizes)} variants of kernels compiled ahead, {sum(sizes) / 1e6:.1f} MB in {folder}"


def _choices(gpu: str) -> tuple[str, bool, str]:
    """Return the finding on the table that chooses kernels on a model of GPU."""
    try:
        table = choices.table(gpu)
    except FormatError as error:
        return "choices", False, " ".join(map(str.strip, str(error).splitlines()))
    whose = f"{table.user} before the shipped table" if table.user else "the shipped table"
    return "choices", True, f"{table.digest}, on {gpu}: {whose}"


def _gpu() -> str:
    import cupy

    return f"{gpu_name(0)}, CuPy {cupy.__version__}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"
