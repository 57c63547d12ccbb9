"""Backends: where arrays live and how kernels are launched.

get(device) -> Backend        of(*arrays) -> Backend        device("cuda:0") -> Device
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet import emulator
from gpunet.backend.base import Array, Backend
from gpunet.backend.device import Device
from gpunet.backend.layout import CHANNELS_LAST, CONTIGUOUS, Layout, layout_of
from gpunet.backend.numpy import NumpyBackend
from gpunet.errors import DeviceError, DTypeError, layout_message

__all__ = [
    "CHANNELS_LAST",
    "CONTIGUOUS",
    "NUMPY",
    "Array",
    "Backend",
    "Device",
    "Layout",
    "device",
    "get",
    "layout_of",
    "of",
    "unavailable",
]


def device(name: str | Device) -> Device:
    """Return a device by name: "cpu", "cuda", "cuda:1", "emulated" or "auto".

    "auto" is the first GPU when a trial kernel runs on it, else the CPU. A device object is returned as is.

    Raises:
        DeviceError: there is no such device here; the message says why and what would help.

    >>> device("cpu")
    device('cpu')
    """
    if isinstance(name, Device):
        return name
    if not isinstance(name, str):
        raise DeviceError(f"device: expected a name such as 'cpu' or 'cuda:0', got {name!r}")
    if name == "auto":
        return Device("cpu") if unavailable("cuda") else Device("cuda", 0)
    return get(Device.parse(name)).device


def unavailable(kind: str) -> str | None:
    """Say why "cpu", "cuda" or "emulated" devices cannot be used here, or None where they can."""
    if kind == "cuda":
        from gpunet.backend import cupy

        return cupy.unavailable()
    return emulator.unavailable() if kind == "emulated" else None


@functools.cache
def get(device: Device) -> Backend:
    """Return the backend of a device; one object per device for the life of the process."""
    if device.type == "cpu":
        return NumpyBackend()
    if device.type == "cuda":
        from gpunet.backend.cupy import CupyBackend

        return CupyBackend(device.index)
    reason = emulator.unavailable()
    if reason:
        raise DeviceError(layout_message("emulated", reason))
    from gpunet.backend.emulated import EmulatedBackend

    return EmulatedBackend()


_CPU = Device("cpu")
NUMPY = get(_CPU)
_EMULATED = Device("emulated")


def _device_of(array: Any) -> Device:
    """Return where an array lives, by its type."""
    if isinstance(array, np.ndarray):
        return _CPU
    module = type(array).__module__
    if module == "gpunet.backend.emulated_array":
        return _EMULATED
    if module.partition(".")[0] == "cupy" and hasattr(array, "device"):
        return Device("cuda", array.device.id)
    raise DTypeError(
        layout_message(
            "gpunet",
            f"{type(array).__module__}.{type(array).__name__} is not an array.",
            expected="a numpy.ndarray or a cupy.ndarray",
            hint="numpy.asarray(x), or cupy.asarray(x) for the GPU",
        )
    )


def of(*arrays: Any) -> Backend:
    """Return the backend that the arrays share; None entries are skipped.

    Raises:
        DTypeError: something is not an array.
        DeviceError: the arrays live on different devices.

    >>> of(np.zeros(3)).name
    'numpy'
    """
    found: Device | None = None
    for array in arrays:
        if array is None:
            continue
        if type(array) is np.ndarray:
            place = _CPU
        else:
            place = _device_of(array)
        if found is None:
            found = place
        elif place is not found and place != found:
            raise DeviceError(
                layout_message(
                    "gpunet",
                    "the arrays live on different devices.",
                    expected=f"one device, got {found} and {place}",
                    hint="move them to one device first",
                )
            )
    if found is None:
        raise DTypeError("gpunet: there is no array to work on")
    return NUMPY if found is _CPU else get(found)
