"""Which of OpenBLAS's kernels NumPy multiplies with: chosen before NumPy is loaded, by the model of CPU.

NumPy's OpenBLAS looks at the CPU when it is loaded, once. On two generations of AMD it picks kernels that are slower
than others it carries:

    Zen 4   takes AVX-512 kernels; this CPU works through such vectors in halves, and AVX2 is 5 to 20 % faster
    Zen 5   is unknown to OpenBLAS 0.3.31 and gets AVX2 kernels; AVX-512 is 1.9 times faster

`import gpunet` names the better ones, and takes the name back, if it comes before `import numpy`. Where
GPUNET_BLAS_KERNELS=numpy or OPENBLAS_CORETYPE is set, on other CPUs and other systems, all stays as it is.
`gpunet doctor` says what runs.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

__all__ = ["best", "load_numpy", "wanted"]

_AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl"}  # what the SkylakeX kernels use
_KERNELS_OF_AMD = {25: "Haswell", 26: "SkylakeX"}  # by family; of those that have AVX-512


def best(cpuinfo: str) -> str | None:
    """Return OpenBLAS's name of the fastest kernels for a CPU, or None where its own choice is as good.

    Args:
        cpuinfo: what Linux says in /proc/cpuinfo.

    >>> best("vendor_id : AuthenticAMD\\ncpu family : 26\\nflags : fma avx512f avx512dq avx512bw avx512vl")
    'SkylakeX'
    """
    facts = dict(re.findall(r"^(vendor_id|cpu family|flags)\s*:\s*(.*)$", cpuinfo, re.MULTILINE))
    if facts.get("vendor_id") != "AuthenticAMD" or not _AVX512.issubset(facts.get("flags", "").split()):
        return None
    return _KERNELS_OF_AMD.get(int(facts.get("cpu family", 0)))


def wanted() -> str | None:
    """Return the name of the fastest kernels for this CPU; None where nobody is to change what NumPy would take."""
    if os.environ.get("GPUNET_BLAS_KERNELS") == "numpy" or "OPENBLAS_CORETYPE" in os.environ:
        return None
    cpuinfo = Path("/proc/cpuinfo")
    return best(cpuinfo.read_text(encoding="utf-8", errors="replace")) if cpuinfo.exists() else None


def load_numpy() -> None:
    """Import NumPy with the fastest kernels, unless it is imported already or the user has chosen."""
    name = wanted()
    if name is None or "numpy" in sys.modules:
        return
    os.environ["OPENBLAS_CORETYPE"] = name
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ["OPENBLAS_CORETYPE"]  # it concerns NumPy's OpenBLAS only, and no child process
