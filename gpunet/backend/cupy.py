"""The CUDA backend: CuPy arrays, our kernels through `cupy.RawModule` on CuPy's current stream."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import cubins, kernels
from gpunet.backend.base import Array
from gpunet.backend.device import Device
from gpunet.backend.kernel_backend import Function, KernelBackend
from gpunet.errors import DeviceError, OutOfMemoryError, layout_message

__all__ = ["CupyBackend", "archs", "gpu_name", "unavailable"]

_FREE_SHARED = 48 * 1024  # bytes of dynamic shared memory that a kernel gets without asking
_HINT = 'pip install "gpunet[cuda12]" (or cuda13), with an NVIDIA driver on the machine'


@functools.cache
def unavailable() -> str | None:
    """Say in one sentence why CuPy cannot be used here, or None where a kernel ran."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    if not cupy.cuda.is_available():
        return f"CuPy {cupy.__version__} is installed, but there is no usable NVIDIA driver or GPU"
    try:
        probe = cupy.RawKernel('extern "C" __global__ void probe(int* x) { x[0] = 7; }', "probe")
        x = cupy.zeros(1, cupy.int32)
        probe((1,), (1,), (x,))
        return None if int(x[0]) == 7 else "a trial kernel returned a wrong value"
    except Exception as error:  # whatever CuPy, NVRTC or the driver raise: the GPU is not usable
        return f"a trial kernel failed: {type(error).__name__}: {error}"


def archs() -> list[int]:
    """Return the compute capabilities of all GPUs here, times ten."""
    import cupy

    count = cupy.cuda.runtime.getDeviceCount()
    return sorted({int(cupy.cuda.Device(index).compute_capability) for index in range(count)})


def gpu_name(index: int) -> str:
    """Return what the driver calls a GPU's model, such as "NVIDIA H100 80GB HBM3"."""
    import cupy

    name: str = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return name


class CupyBackend(KernelBackend):
    """One GPU."""

    name = "cupy"

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.device = Device("cuda", index)
        reason = unavailable()
        if reason:
            raise DeviceError(layout_message(str(self.device), f"{reason}.", hint=_HINT))
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        if index >= count:
            raise DeviceError(
                layout_message(str(self.device), "there is no such GPU.", expected=f"an index below {count}")
            )
        self.xp = cupy
        self._device = cupy.cuda.Device(index)
        self.arch = int(self._device.compute_capability)
        self.gpu = gpu_name(index)
        self.max_shared_bytes = int(self._device.attributes["MaxSharedMemoryPerBlockOptin"])

    def current(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which CuPy works on this GPU."""
        device: contextlib.AbstractContextManager[object] = self._device
        return device

    @contextlib.contextmanager
    def _memory_for(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[None]:
        """Work on this GPU; tell for which array there is no memory."""
        try:
            with self._device:
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            problem = f"no memory for an array of shape {shape} {dtype}: {error}."
            raise OutOfMemoryError(layout_message(str(self.device), problem, hint="use a smaller batch")) from None

    def _nvrtc_version(self) -> str:
        """Return the version of the compiler that CuPy uses."""
        return ".".join(map(str, self.xp.cuda.nvrtc.getVersion()))

    def _compile(self, source: kernels.Source, defines: dict[str, str]) -> Callable[[str], Function]:
        prebuilt = cubins.find(source, defines, self.arch, self._nvrtc_version())
        if prebuilt:
            module = self.xp.RawModule(path=str(prebuilt))
        else:
            options = tuple(f"-D{macro}={value}" for macro, value in defines.items())
            module = self.xp.RawModule(code=source.text, options=options)

        def find(name: str) -> Function:
            with self._device:
                function = module.get_function(name)
            granted = _FREE_SHARED

            def run(grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared: int) -> None:
                nonlocal granted
                with self._device:
                    if shared > granted:
                        function.max_dynamic_shared_size_bytes = granted = shared
                    function(grid, block, tuple(args), shared_mem=shared)

            return run

        return find

    def _allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        with self._memory_for(shape, np.dtype(dtype)):
            return self.xp.empty(shape, dtype)

    def _owns(self, array: object) -> bool:
        return isinstance(array, self.xp.ndarray) and array.device.id == self.device.index

    def _is_aligned(self, array: Array, alignment: int = 1) -> bool:
        return bool(array.data.ptr % max(array.dtype.itemsize, alignment) == 0)

    def _download(self, array: Array) -> npt.NDArray[Any]:
        with self._device:
            host: npt.NDArray[Any] = self.xp.asnumpy(array)
        return host

    def _upload(self, array: npt.NDArray[Any]) -> Array:
        with self._memory_for(array.shape, array.dtype):
            return self.xp.asarray(array)

    def synchronize(self) -> None:
        """Wait for the device."""
        self._device.synchronize()
