"""Compiles every variant of every kernel file by several processes, so that nothing later waits for a compiler.

Where `gpunet warmup` needs no GPU, this one takes the way of every program: through CuPy, and on to the GPU.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import dataclass, field

from bench.gpu.progress import progress
from gpunet import backend
from gpunet.backend import Device, kernels
from gpunet.backend.check import cpus
from gpunet.backend.kernel_backend import KernelBackend

SHOWN = 8  # lines of what a compiler says
MOST_PROCESSES = 12  # each has a CUDA context of its own, of some hundred MB

Job = tuple[str, dict[str, str]]


@dataclass
class Built:
    """What came of compiling: how many variants, which did not compile, and which were not reached in time."""

    done: int = 0
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def jobs(arch: int) -> list[Job]:
    """Return every variant of every file that an architecture can have; those with tiles, which take longest, first."""
    found = [(file, defines) for file in kernels.kernel_files() for defines in kernels.variants(file)]
    possible = [job for job in found if kernels.runs_on(job[1], arch)]
    return sorted(possible, key=lambda job: not job[1].keys() & {"TILE", "HALO_TILE"})


def build(device: Device, chosen: Sequence[Job], until: float) -> Built:
    """Compile until a moment of `time.perf_counter`."""
    built = Built()
    processes = max(1, min(cpus(), MOST_PROCESSES, len(chosen)))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(_compile, device, job): job for job in chosen}
        try:
            for future in progress(_until(futures, until), len(chosen), "variant"):
                built.done += 1
                if problem := future.result():
                    built.failed.append(f"{in_words(futures[future])}: {problem}")
        except OutOfTime:
            late = [job for future, job in futures.items() if future.cancel()]
            built.left_out = [f"compile {in_words(job)}: no time was left" for job in late]
    return built


def _until(futures: dict[Future[str | None], Job], until: float) -> Iterator[Future[str | None]]:
    return as_completed(futures, timeout=max(0.0, until - time.perf_counter()))


def in_words(job: Job) -> str:
    """Name a job.

    >>> in_words(("copy.cu", {"ELEMENT": "unsigned"}))
    'copy.cu ELEMENT=unsigned'
    """
    return " ".join([job[0], *(f"{macro}={value}" for macro, value in job[1].items())])


def _compile(device: Device, job: Job) -> str | None:
    """Compile one variant, in a process of the pool; return what went wrong."""
    try:
        be = backend.get(device)
        assert isinstance(be, KernelBackend)
        be.build(*job)
    except Exception as error:  # of the compiler, CuPy or the driver
        return f"{type(error).__name__}: " + "\n".join(str(error).splitlines()[:SHOWN])
    return None
