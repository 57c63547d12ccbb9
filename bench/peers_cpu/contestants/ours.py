"""gpunet on NumPy."""

from __future__ import annotations

import gpunet
from bench.peers_cpu.contestants.script import Script
from bench.peers_cpu.workloads import Weights, Workload
from gpunet.backend import blas


class Ours(Script):
    """The script, with gpunet."""

    def kernels(self) -> str:
        return blas.describe()["kernels"]


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> Ours:
    """Return the contestant."""
    blas.set_threads(threads)
    return Ours(gpunet, workload, weights)
