"""Runs CUDA kernels on the CPU: the same .cu text as on the GPU, compiled with g++, on NumPy arrays.

Threads of a block are fibers, so barriers, warp shuffles, votes and atomics mean what they mean on a GPU. Modes check
what a GPU does not: races, missing barriers, accesses out of bounds, undefined arithmetic, deadlocks; and one counts
bank conflicts. It cannot show: register and shared memory limits, memory ordering, speed. Spin locks between
blocks never end, for blocks run one after another.
"""

from __future__ import annotations

from gpunet.emulator.arguments import Parameter
from gpunet.emulator.banks import SharedAccess, watch_banks
from gpunet.emulator.build import asan_environment, unavailable
from gpunet.emulator.module import MAX_DYNAMIC_SHARED, Kernel, RawModule
from gpunet.emulator.settings import Settings, configure, settings

__all__ = [
    "MAX_DYNAMIC_SHARED",
    "Kernel",
    "Parameter",
    "RawModule",
    "Settings",
    "SharedAccess",
    "asan_environment",
    "configure",
    "settings",
    "unavailable",
    "watch_banks",
]
