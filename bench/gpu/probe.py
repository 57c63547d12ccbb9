"""What there is on this machine: the GPU, the driver, versions, and NVIDIA's tools."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from typing import Any

from bench import timing

TOOLKIT = "/usr/local/cuda"
TOOLS = ("compute-sanitizer", "ncu", "nsys")
MODULES = ("torch", "pytest", "hypothesis", "ml_dtypes", "matplotlib", "jax")
_SMI = (
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "clocks.max.mem",
    "power.limit",
    "temperature.gpu",
)
ATTRIBUTES = {
    "multiprocessors": "cudaDevAttrMultiProcessorCount",
    "clock_khz": "cudaDevAttrClockRate",
    "memory_clock_khz": "cudaDevAttrMemoryClockRate",
    "memory_bus_bits": "cudaDevAttrGlobalMemoryBusWidth",
    "l2_bytes": "cudaDevAttrL2CacheSize",
    "shared_bytes_per_block": "cudaDevAttrMaxSharedMemoryPerBlockOptin",
}


def gpu() -> dict[str, Any]:
    """Describe the first GPU and the libraries that serve it."""
    import cupy

    runtime, device = cupy.cuda.runtime, cupy.cuda.Device(0)
    free, total = device.mem_info
    return {
        "name": timing.gpu_name(0),
        "compute_capability": device.compute_capability,
        **{key: runtime.deviceGetAttribute(getattr(runtime, name), 0) for key, name in ATTRIBUTES.items()},
        "memory_bytes": total,
        "memory_free_bytes": free,
        "cuda_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
        **smi(),
    }


def smi() -> dict[str, str]:
    """Return what nvidia-smi says of clocks, power and temperature; nothing where it is missing."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(_SMI, (cell.strip() for cell in done.stdout.split(",")), strict=False))


def software() -> dict[str, str | None]:
    """Return versions of the modules that a run can use and paths of tools; None for what is missing."""
    found: dict[str, str | None] = {}
    for name in MODULES:
        found[name] = _version(name) if importlib.util.find_spec(name) else None
    if found["torch"]:
        import torch

        found["torch cuda"] = torch.version.cuda
        found["torch cudnn"] = str(torch.backends.cudnn.version())
    return {**found, **{tool: _find(tool) for tool in TOOLS}}


def _find(tool: str) -> str | None:
    """Return where a tool lies: on the path, or where the toolkit puts it."""
    return shutil.which(tool) or shutil.which(tool, path=os.path.join(os.environ.get("CUDA_PATH", TOOLKIT), "bin"))


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"
