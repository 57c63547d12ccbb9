"""NVRTC by ctypes: compiles kernels to machine code without a GPU or a driver, to check them.

CuPy compiles what runs on a GPU; it cannot compile without one. The options here are CuPy's, so what
passes here is what CuPy will build.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunet.backend.kernels import Source
from gpunet.errors import KernelError, layout_message

__all__ = ["ARCHS", "OPTIONS", "CompileError", "Compiled", "Usage", "compile_source", "unavailable", "version"]

# The GPU generations that gpunet is checked for: T4, A100, RTX 30, RTX 40, H100, B200, RTX 50.
ARCHS = (75, 80, 86, 89, 90, 100, 120)

# What CuPy passes to NVRTC for a RawModule, and: report what kernels use, registers that spill to memory too.
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")
_CHECKS = ("--ptxas-options=-v", "--ptxas-options=--warn-on-spills")
_STRICT = "--ptxas-options=-Werror"


class CompileError(KernelError):
    """NVRTC refuses a text.

    Attributes:
        log: every word the compiler said.
    """

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Usage:
    """What one thread, or one block, of a compiled kernel uses, and the launch bounds that it was compiled for."""

    registers: int
    shared_bytes: int
    spill_bytes: int
    max_threads: int | None = None  # per block
    blocks: int = 1  # per multiprocessor
    stack_bytes: int = 0  # of a thread's local memory: spilled registers, and arrays that variables index

    @property
    def register_limit(self) -> int:
        """How many registers a thread may use for the launch bounds to hold."""
        return min(255, 65536 // ((self.max_threads or 1) * self.blocks))


@dataclass(frozen=True)
class Compiled:
    """Machine code for one architecture and the PTX it is made of, what kernels use, and all that the compiler said."""

    cubin: bytes
    ptx: str
    usage: Mapping[str, Usage]
    warnings: str


def _candidates() -> list[Path]:
    """Return possible paths of libnvrtc: NVIDIA's wheels, then a CUDA toolkit; newest first."""
    folders: list[Path] = []
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or [] if spec else []:
        folders += [Path(root) / "cuda_nvrtc" / "lib", Path(root) / "cu13" / "lib"]
    if "CUDA_PATH" in os.environ:
        folders.append(Path(os.environ["CUDA_PATH"]) / "lib64")
    return [path for folder in folders for path in sorted(folder.glob("libnvrtc.so.1*"), reverse=True)]


@functools.cache
def _library() -> ctypes.CDLL | None:
    for path in _candidates():
        if "builtins" not in path.name:
            # NVRTC opens its builtins by name; loaded first, they are found wherever they lie.
            for builtins in path.parent.glob("libnvrtc-builtins.so*"):
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(path))
    return None


def unavailable() -> str | None:
    """Say in one sentence why NVRTC cannot be used here, or None where it can."""
    if _library() is None:
        return "NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12"
    return None


def version() -> str:
    """Return NVRTC's version, such as "12.9"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _require().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _require() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise KernelError(layout_message("nvrtc", f"{unavailable()}."))
    return library


def compile_source(source: Source, defines: Mapping[str, str], arch: int, *, allow_spills: bool = False) -> Compiled:
    """Compile a kernel file for one GPU architecture; no GPU is needed.

    Args:
        source: from `kernels.load`.
        defines: values of the file's macros.
        arch: compute capability times ten, such as 90 for an H100.
        allow_spills: report spilled registers, and what else the assembler warns of, instead of raising.

    Raises:
        KernelError: NVRTC is missing.
        CompileError: it refuses the text, or a kernel spills registers.
    """
    library = _require()
    options = [*OPTIONS, *_CHECKS, f"-arch=sm_{arch}", *(f"-D{k}={v}" for k, v in defines.items())]
    if not allow_spills:
        options.append(_STRICT)
    program = ctypes.c_void_p()
    text = source.text.encode()
    library.nvrtcCreateProgram(ctypes.byref(program), text, source.file.encode(), 0, None, None)
    try:
        encoded = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = library.nvrtcCompileProgram(program, len(options), encoded)
        log = _bytes(program, "ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise CompileError(f"{source.file} for sm_{arch} with {dict(defines)} does not compile:\n{log}", log)
        ptx = _bytes(program, "PTX").rstrip(b"\0").decode()
        return Compiled(_bytes(program, "CUBIN"), ptx, _usage(log, ptx), _warnings(log))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    """Fetch a result of variable size from NVRTC."""
    library, size = _require(), ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


_ENTRY = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?"
    r"Used (\d+) registers([^\n]*)",
    re.DOTALL,
)


_BOUNDS = re.compile(r"\.entry (\w+)\([^)]*\)([^{]*)\{")


def _usage(log: str, ptx: str) -> dict[str, Usage]:
    """Read what kernels use from the assembler's log, launch bounds from the assembly text."""
    found = {}
    bounds = dict(_BOUNDS.findall(ptx))
    for name, stack, stores, loads, registers, rest in _ENTRY.findall(log):
        shared = re.search(r"(\d+) bytes smem", rest)
        threads = re.search(r"\.maxntid (\d+), (\d+), (\d+)", bounds.get(name, ""))
        blocks = re.search(r"\.minnctapersm (\d+)", bounds.get(name, ""))
        found[name] = Usage(
            registers=int(registers),
            shared_bytes=int(shared[1]) if shared else 0,
            spill_bytes=int(stores) + int(loads),
            stack_bytes=int(stack),
            max_threads=math.prod(map(int, threads.groups())) if threads else None,
            blocks=int(blocks[1]) if blocks else 1,
        )
    return found


def _warnings(log: str) -> str:
    """Return the lines of a log that are not plain resource reports."""
    return "\n".join(line for line in log.splitlines() if "warning" in line.lower())


def supported_archs() -> Sequence[int]:
    """Return the architectures that this NVRTC compiles for."""
    library, count = _require(), ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    archs = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(archs)
    return list(archs)
