"""RawModule and Kernel: CUDA kernels on NumPy arrays, with the calls of cupy.RawModule."""

from __future__ import annotations

import ctypes
import functools
import math
import operator
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpunet.emulator import banks, build
from gpunet.emulator.arguments import (
    CParameter,
    Misfit,
    argument_converter,
    argument_format,
    described,
    parameter_of,
)
from gpunet.emulator.settings import MODES, SCHEDULES, settings
from gpunet.errors import KernelError, layout_message

MAX_THREADS = 1024
MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_DYNAMIC_SHARED = 227 * 1024
MAX_ARGUMENT_BYTES = 4096


class _CKernel(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("run", ctypes.c_void_p),
        ("max_threads", ctypes.c_int),
        ("parameter_count", ctypes.c_int),
        ("parameters", ctypes.POINTER(CParameter)),
        ("library", ctypes.c_void_p),
    ]


_LAUNCH_TYPES: list[Any] = [
    *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),  # kernel, arguments
    *([ctypes.c_uint] * 6),  # grid, block
    *(ctypes.c_size_t, ctypes.c_int, ctypes.c_uint, ctypes.c_int),  # dynamic shared, schedule, seed, workers
]


class RawModule:
    """Kernels compiled for the CPU, as cupy.RawModule compiles them for the GPU.

    Args:
        code: CUDA C++ text; every kernel in it is declared extern "C" __global__ void.
        path: a file with such text, instead of `code`.
        options: for the compiler: "-DNAME=value" and "-Idirectory".
        mode: 'fast', 'race', 'banks' or 'asan'; None takes it from `settings`.
        name: what `code` is called in messages.

    Attributes:
        names: the kernels' names.
        mode: as above.

    Raises:
        KernelError: the text does not compile, or the emulator cannot run here (see `unavailable`).

    Example:
        >>> twice = RawModule(code='extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }')
        >>> x = np.ones(3, np.float32)
        >>> twice.get_function("twice")((1,), (3,), (x,))
        >>> x
        array([2., 2., 2.], dtype=float32)
    """

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | os.PathLike[str] | None = None,
        options: Sequence[str] = (),
        mode: str | None = None,
        name: str | None = None,
    ) -> None:
        self.mode = settings().mode if mode is None else mode
        if self.mode not in MODES:
            raise KernelError(
                layout_message("RawModule", "there is no such mode.", expected=f"{' or '.join(MODES)}, got {mode!r}")
            )
        if self.mode == "asan" and "asan" not in os.environ.get("LD_PRELOAD", ""):
            raise KernelError(
                layout_message(
                    "RawModule",
                    "asan mode needs AddressSanitizer in the process from its start.",
                    hint="start Python with the environment variables of gpunet.emulator.asan_environment()",
                )
            )
        if (code is None) == (path is None):
            raise KernelError(layout_message("RawModule", "expected either code or path."))
        name = name if path is None else os.fspath(path)
        self._path, runtime_path = build.library(_text(code, path), name, options, self.mode)
        self._library = ctypes.CDLL(str(self._path))  # RTLD_LOCAL: the runtimes of two modes must not mix
        runtime = ctypes.CDLL(str(runtime_path))
        self._launch = runtime.gpunet_launch
        self._launch.argtypes = _LAUNCH_TYPES
        self._launch.restype = ctypes.c_char_p
        if self.mode == "banks":
            self._shared_access = runtime.gpunet_shared_access
            self._shared_access.restype = ctypes.POINTER(banks.CSharedAccess)
        self._kernels: dict[str, _CKernel] = {}
        first = _CKernel.in_dll(self._library, "gpunet_kernels")
        table = ctypes.cast(ctypes.pointer(first), ctypes.POINTER(_CKernel))
        number = 0
        while table[number].name:
            self._kernels[table[number].name.decode()] = table[number]
            number += 1
        self.names: tuple[str, ...] = tuple(self._kernels)

    @functools.cached_property
    def _begin(self) -> int | None:
        """Where the library begins in memory, None where that is not known."""
        try:
            maps = os.fsdecode(Path("/proc/self/maps").read_bytes()).splitlines()
        except OSError:
            return None
        mapped = os.path.realpath(self._path)
        return next((int(line.split("-")[0], 16) for line in maps if line.endswith(mapped)), None)

    def _offset(self, return_address: int) -> int:
        """The place in the library of a call, of which the address is known that it returns to."""
        return return_address - (self._begin or 0) - 1

    def get_function(self, name: str) -> Kernel:
        """A kernel by name.

        Raises:
            KernelError: there is none of this name.
        """
        if name not in self._kernels:
            raise KernelError(
                layout_message(
                    "RawModule",
                    f"there is no kernel {name!r}.",
                    expected="one of " + ", ".join(sorted(self.names)),
                )
            )
        return Kernel(self, self._kernels[name])

    def get_global(self, name: str, dtype: DTypeLike, shape: int | Sequence[int]) -> NDArray[Any]:
        """A view of a __constant__ or __device__ variable; writing to it changes the variable.

        Raises:
            KernelError: there is no such variable.
        """
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        count = math.prod(sizes)
        try:
            memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).in_dll(self._library, name)
        except ValueError:
            raise KernelError(
                layout_message(
                    "RawModule",
                    f"there is no variable {name!r}.",
                    expected="a __constant__ or __device__ variable at file scope, not static or const",
                )
            ) from None
        return np.frombuffer(memoryview(memory).cast("B"), np.dtype(dtype)).reshape(sizes)


def _text(code: str | None, path: str | os.PathLike[str] | None) -> str:
    if path is None:
        return str(code)
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise KernelError(layout_message("RawModule", f"{os.fspath(path)} cannot be read: {reason}.")) from None


class Kernel:
    """A kernel of a `RawModule`; call it to launch it. The launch returns when the kernel has finished.

    Attributes:
        name: as in the source.
        parameters: what the compiler says of each parameter.
    """

    def __init__(self, module: RawModule, entry: _CKernel) -> None:
        self._module = module
        self._address = ctypes.addressof(entry)
        self.name: str = entry.name.decode()
        self.max_threads: int = entry.max_threads
        found = [entry.parameters[i] for i in range(entry.parameter_count)]
        self.parameters = tuple(map(parameter_of, found))
        self._converters = [
            argument_converter(parameter, found[i], self._misfit(i)) for i, parameter in enumerate(self.parameters)
        ]
        self._struct = struct.Struct(argument_format(found))
        if self._struct.size > MAX_ARGUMENT_BYTES:
            raise self._error(f"its arguments take {self._struct.size} bytes, more than {MAX_ARGUMENT_BYTES}.")

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0) -> None:
        """Launch the kernel and wait for its end.

        Args:
            grid: blocks along x, y, z; missing ones are 1.
            block: threads along x, y, z of a block, at most 1024 in all.
            args: one per parameter: a NumPy array for a pointer (its dtype must be the pointee's; its memory is used
                as it lies), None for a null pointer, a NumPy scalar of the parameter's type, a Python int or float
                that fits, a 0-d array or scalar of a struct's size.
            shared_mem: bytes of dynamic shared memory.

        Raises:
            KernelError: an argument or the launch shape is wrong (nothing has run then), or the kernel broke a rule.
        """
        sizes, packed = self._prepare(grid, block, args, shared_mem)
        current = settings()
        workers = 1 if self._module.mode != "fast" else current.workers or _cpus()
        schedule = SCHEDULES.index(current.schedule)
        message = self._module._launch(
            *(self._address, packed, len(packed), *sizes),
            *(shared_mem, schedule, current.seed, workers),
        )
        if message is not None:
            raise KernelError(f"{self.name}: {self._in_words(message.decode(errors='replace'), args)}")
        if self._module.mode == "banks":
            banks.record(self.name, self._module._path, self._module._offset, self._module._shared_access)

    def check(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int = 0) -> None:
        """Raise what a launch with these arguments would refuse, without launching.

        Raises:
            KernelError: an argument or the launch shape is wrong.
        """
        self._prepare(grid, block, args, shared_mem)

    def _prepare(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], shared_mem: int
    ) -> tuple[tuple[int, ...], bytes]:
        """Return the sizes of grid and block, and the arguments as the compiler lays them out."""
        grid_sizes = self._sizes("grid", grid, MAX_GRID)
        block_sizes = self._sizes("block", block, MAX_BLOCK)
        if block_sizes[0] * block_sizes[1] * block_sizes[2] > self.max_threads:
            bounded = "of the kernel's launch bounds" if self.max_threads != MAX_THREADS else "that a block can have"
            raise self._error(
                f"the block {block_sizes} has too many threads.",
                expected=f"at most the {self.max_threads} {bounded}, got {math.prod(block_sizes)}",
            )
        if not 0 <= shared_mem <= MAX_DYNAMIC_SHARED:
            raise self._error(
                "the dynamic shared memory has a bad size.",
                expected=f"0 to {MAX_DYNAMIC_SHARED} bytes, got {shared_mem}",
            )
        if len(args) != len(self._converters):
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise self._error(
                "the number of arguments is wrong.",
                expected=f"{len(self._converters)} arguments ({names}), got {len(args)}",
            )
        values = [convert(argument) for convert, argument in zip(self._converters, args, strict=True)]
        return (*grid_sizes, *block_sizes), self._struct.pack(*values)

    def __repr__(self) -> str:
        return f"<Kernel {self.name}({', '.join(parameter.name for parameter in self.parameters)})>"

    def _error(self, problem: str, **details: str) -> KernelError:
        return KernelError(layout_message(self.name, problem, **details))

    def _sizes(self, what: str, given: Sequence[int], limits: tuple[int, int, int]) -> tuple[int, ...]:
        try:
            sizes = tuple(map(operator.index, given))
        except TypeError:
            sizes = ()
        if len(sizes) in (1, 2):
            sizes += (1,) * (3 - len(sizes))
        if len(sizes) == 3 and 1 <= sizes[0] <= limits[0] and 1 <= sizes[1] <= limits[1] and 1 <= sizes[2] <= limits[2]:
            return sizes
        raise self._error(
            f"the {what} has bad sizes.",
            expected=f"1 to 3 integers from 1 to {limits[0]}, {limits[1]} and {limits[2]}, got {given!r}",
        )

    def _misfit(self, number: int) -> Misfit:
        """Return what makes the error of an argument that does not fit its parameter."""

        def error(argument: Any, expected: str, hint: str = "") -> KernelError:
            return self._error(
                f"argument {number} ({self.parameters[number].name}) does not fit the kernel's parameter.",
                expected=f"{expected}, got {described(argument)}",
                hint=hint,
            )

        return error

    def _in_words(self, message: str, args: Sequence[Any]) -> str:
        """Put arguments and source lines in the place of the addresses of a race report."""

        def place(match: re.Match[str]) -> str:
            address = int(match.group(1), 16)
            for number, (argument, parameter) in enumerate(zip(args, self.parameters, strict=True)):
                if isinstance(argument, np.ndarray):
                    low, high = np.lib.array_utils.byte_bounds(argument)
                    if low <= address < high:
                        offset = address - argument.__array_interface__["data"][0]
                        return f"argument {number} ({parameter.name}), byte offset {offset}"
            return "memory outside the arguments"

        def site(match: re.Match[str]) -> str:
            (line,) = build.source_lines(self._module._path, [self._module._offset(int(match.group(1), 16))])
            return f" at {line}" if line else ""

        def shared(match: re.Match[str]) -> str:
            return build.shared_variable(self._module._path, int(match.group(1), 16))

        for word, replace in (("address", place), ("shared", shared), ("site", site)):
            message = re.sub(rf"\{{{word} (\w+)\}}", replace, message)
        return message


_cpu_count = 0


def _cpus() -> int:
    """The number of CPUs that this process may use."""
    global _cpu_count
    _cpu_count = _cpu_count or min(len(os.sched_getaffinity(0)), 256)
    return _cpu_count
