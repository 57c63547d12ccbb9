"""PyTorch."""

from __future__ import annotations

import torch

from bench.peers_cpu.contestants.script import Script
from bench.peers_cpu.workloads import Weights, Workload


class PyTorch(Script):
    """The script, with PyTorch."""

    def kernels(self) -> str:
        return str(torch.backends.cpu.get_cpu_capability())


def make(workload: Workload, weights: Weights, threads: int, variant: str) -> PyTorch:
    """Return the contestant."""
    torch.set_num_threads(threads)
    return PyTorch(torch, workload, weights)
