"""The arguments of `to`, which a Tensor and a Module take in PyTorch's many ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Device
from gpunet.tensor.facts import Facts

__all__ = ["destination"]


def destination(
    target: Any = None, dtype: npt.DTypeLike | None = None, device: str | Device | None = None
) -> tuple[Device | None, np.dtype[Any] | None]:
    """Return the device and the dtype that are asked for, each None where it is not.

    Args:
        target: a device, a dtype, or a tensor that has both; a string names a device.
        dtype, device: the same by name.

    Raises:
        DeviceError: there is no such device.
        TypeError: `target` is nothing of that, or a device or dtype is given twice.
    """
    devices: list[Any] = [device]
    dtypes: list[Any] = [dtype]
    if isinstance(target, str | Device):
        devices.append(target)
    elif isinstance(target, Facts):  # a Tensor, which is defined above this
        devices.append(target.device)
        dtypes.append(target.dtype)
    else:
        dtypes.append(target)
    place, kind = _only(devices), _only(dtypes)
    return None if place is None else backend.device(place), None if kind is None else np.dtype(kind)


def _only(values: list[Any]) -> Any:
    given = [value for value in values if value is not None]
    if len(given) > 1:
        raise TypeError("to: a device or a dtype is given twice")
    return given[0] if given else None
