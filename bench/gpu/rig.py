"""What a run works with: a backend, PyTorch beside it on the same device, a clock, and how arrays pass between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import Array, Device
from gpunet.backend.dtypes import bfloat16
from gpunet.backend.kernel_backend import KernelBackend

PRECISIONS = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # and how it is stored

HOLD = """
extern "C" __global__ void hold(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


@dataclass(frozen=True)
class Rig:
    """One device, as gpunet and PyTorch see it.

    Attributes:
        be: gpunet's backend.
        torch: the module.
        torch_device: where PyTorch's tensors live, the same memory.
        cuda: `Event` and `get_elapsed_time`, those of CuPy or of the stand-in.
        hold: (seconds) keeps the stream busy for that long, so that what is launched next has to queue.
        memcpy: (out, x) copies between arrays by what the system offers, not by a kernel of ours.
        rounds: the least and the greatest number of timed rounds.
        dry: nothing here is a measurement.
    """

    be: KernelBackend
    torch: Any
    torch_device: str
    cuda: Any
    hold: Callable[[float], None]
    memcpy: Callable[[Array, Array], None]
    rounds: tuple[int, int]
    dry: bool

    def normal(self, shape: tuple[int, ...], precision: str = "fp32", seed: int = 0) -> Any:
        """Return a tensor of normally distributed values, the same ones each time."""
        generator = self.torch.Generator(self.torch_device).manual_seed(seed)
        values = self.torch.randn(shape, generator=generator, device=self.torch_device)
        return values.to(getattr(self.torch, PRECISIONS[precision]))

    def labels(self, rows: int, classes: int) -> Any:
        """Return a tensor of class indices."""
        generator = self.torch.Generator(self.torch_device).manual_seed(0)
        return self.torch.randint(0, classes, (rows,), generator=generator, device=self.torch_device)

    def array(self, tensor: Any) -> Array:
        """Return the array over a tensor's memory; a copy in a dry run."""
        if tensor.dtype == self.torch.bfloat16:  # neither CuPy nor NumPy takes it over as it is
            return self.array(tensor.view(self.torch.int16)).view(bfloat16())
        return self.be.from_numpy(tensor.numpy()) if self.dry else self.be.xp.from_dlpack(tensor)

    def tensor(self, array: Array) -> Any:
        """Return the tensor over an array's memory; a copy in a dry run."""
        if isinstance(array, self.torch.Tensor):
            return array
        if array.dtype.name == "bfloat16":
            return self.tensor(array.view(np.dtype(np.int16))).view(self.torch.bfloat16)
        return self.torch.from_numpy(self.be.to_numpy(array).copy("K")) if self.dry else self.torch.from_dlpack(array)

    def allow_tf32(self, allowed: bool) -> None:
        """Tell PyTorch whether float32 factors may be rounded to TF32, in convolutions and products alike."""
        self.torch.backends.cudnn.allow_tf32 = allowed
        self.torch.backends.cuda.matmul.allow_tf32 = allowed


def gpu() -> Rig:
    """Return the rig of the first GPU.

    Raises:
        DeviceError: there is no GPU that CuPy can use.
        ImportError: PyTorch is missing.
        RuntimeError: PyTorch sees no GPU.
    """
    be = backend.get(Device("cuda", 0))
    assert isinstance(be, KernelBackend)
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU, so there is no peer to compare with")
    torch.backends.cudnn.benchmark = True
    cupy, runtime = be.xp, be.xp.cuda.runtime
    kilohertz = runtime.deviceGetAttribute(runtime.cudaDevAttrClockRate, 0)
    spin = cupy.RawKernel(HOLD, "hold")

    def hold(seconds: float) -> None:
        spin((1,), (1,), (np.int64(seconds * kilohertz * 1000),))

    def memcpy(out: Array, x: Array) -> None:
        out.data.copy_from_device_async(x.data, out.nbytes, cupy.cuda.get_current_stream())

    return Rig(be, torch, "cuda", cupy.cuda, hold, memcpy, rounds=(7, 25), dry=False)


class StandIn:
    """A clock for dry runs: each event comes a millisecond after the one before, and nobody is ever late."""

    def __init__(self) -> None:
        ticks = itertools.count()

        class Event:
            done = False

            def record(self) -> None:
                self.at = next(ticks)

            def synchronize(self) -> None:
                """Nothing runs, so that there is nothing to wait for."""

        self.Event = Event

    @staticmethod
    def get_elapsed_time(start: Any, end: Any) -> float:
        """Return milliseconds."""
        elapsed: int = end.at - start.at
        return float(elapsed)


def dry() -> Rig:
    """Return the rig of a dry run: emulated kernels, PyTorch on the CPU, a clock that only pretends.

    Raises:
        DeviceError: the emulator does not work here.
        ImportError: PyTorch is missing.
    """
    be = backend.get(Device("emulated"))
    assert isinstance(be, KernelBackend)
    import torch

    return Rig(be, torch, "cpu", StandIn(), lambda seconds: None, be.copy, rounds=(1, 1), dry=True)
