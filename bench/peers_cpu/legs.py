"""The environment of contestants' processes: how many threads, and which vector instructions they may use."""

from __future__ import annotations

import importlib
import os

LEGS = {"native": "what each library chooses by itself", "avx2": "as on a CPU without AVX-512"}
FILES = {"native": "cpu", "avx2": "cpu_avx2"}  # of results
# No switch keeps its C compiler from the machine's own instructions.
NOT_IN = {"avx2": {"tinygrad": "always compiles for this CPU"}}
_THREADS = ("GPUNET_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NPROC", "NUM_CPU_THREADS")
# Compilers' caches would warm what is to be a cold start.
_NO_CACHES = {"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "CACHELEVEL": "0"}


def environment(leg: str, threads: int) -> dict[str, str]:
    """Return a process's environment: this one's with threads and instructions limited."""
    limits = {**dict.fromkeys(_THREADS, str(threads)), **_NO_CACHES, **(_avx2() if leg == "avx2" else {})}
    return {**os.environ, **limits}


def _avx2() -> dict[str, str]:
    return {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(_numpy_avx512()),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }


def _numpy_avx512() -> list[str]:
    """Name the features beyond AVX2 that this NumPy has code for and this CPU has."""
    core = importlib.import_module("numpy._core._multiarray_umath")
    has = core.__cpu_features__
    return [name for name in core.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4")) and has.get(name)]
