"""The emulated backend: our CUDA kernels, compiled by g++ and run on the CPU.

It exists to prove kernels and host code where there is no GPU; it is not fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import emulator
from gpunet.backend import emulated_xp, kernels
from gpunet.backend.base import Array
from gpunet.backend.device import Device
from gpunet.backend.emulated_array import check_guards, host_view, ndarray
from gpunet.backend.kernel_backend import Function, KernelBackend
from gpunet.emulator import build

__all__ = ["EmulatedBackend", "compile_options"]


def compile_options(defines: Mapping[str, str]) -> list[str]:
    """Return what the emulator's compiler is told of a kernel file's macros; one variant, one cache entry."""
    return [f"-D{macro}={value}" for macro, value in sorted(defines.items())]


class EmulatedBackend(KernelBackend):
    """The emulated GPU. Modules are kept per emulator mode, so that `emulator.configure` may change it."""

    name = "emulated"
    xp = emulated_xp
    device = Device("emulated")
    arch = 90
    gpu = "emulated"
    max_shared_bytes = emulator.MAX_DYNAMIC_SHARED

    def _compile(self, source: kernels.Source, defines: dict[str, str]) -> Callable[[str], Function]:
        modules: dict[str, emulator.RawModule] = {}

        def find(name: str) -> Function:
            parameters = source.kernel(name).parameters

            def run(grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared: int) -> None:
                mode = emulator.settings().mode
                if mode not in modules:
                    modules[mode] = emulator.RawModule(code=source.text, options=compile_options(defines))
                host_args = [
                    _on_host(arg, parameter.any_memory) for arg, parameter in zip(args, parameters, strict=True)
                ]
                modules[mode].get_function(name)(grid, block, host_args, shared_mem=shared)
                check_guards(name, [arg for arg in args if isinstance(arg, ndarray)])

            return run

        return find

    def build(self, file: str, defines: Mapping[str, str]) -> None:
        """Compile a variant of a file as its first launch would, in the emulator's present mode."""
        build.library(kernels.load(file).text, None, compile_options(defines), emulator.settings().mode)

    def _allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        return ndarray(shape, np.dtype(dtype))

    def _owns(self, array: object) -> bool:
        return isinstance(array, ndarray)

    def _is_aligned(self, array: Array, alignment: int = 1) -> bool:
        host = host_view(array)
        return bool(host.flags.aligned and (alignment == 1 or host.ctypes.data % alignment == 0))

    def _download(self, array: Array) -> npt.NDArray[Any]:
        host: npt.NDArray[Any] = array.get()
        return host

    def _upload(self, array: npt.NDArray[Any]) -> Array:
        return emulated_xp.asarray(array)

    def synchronize(self) -> None:
        """A launch returns when it is done."""


class _FirstByte:
    """Presents the address of an array's first element, whatever its strides, as one byte."""

    def __init__(self, host: npt.NDArray[Any]) -> None:
        self.host = host
        address = host.__array_interface__["data"]
        self.__array_interface__ = {"data": address, "shape": (1,), "typestr": "|u1", "version": 3}


def _on_host(arg: Any, any_memory: bool) -> Any:
    """Return what the emulator takes in place of a device argument."""
    if not isinstance(arg, ndarray):
        return arg
    host = host_view(arg)
    return np.asarray(_FirstByte(host)) if any_memory else host
