"""The error classes of gpunet and the one function that lays out their messages.

Every message answers four questions: what is wrong, with which inputs (named axes and values), what
was expected, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = [
    "DTypeError",
    "DeviceError",
    "FormatError",
    "KernelError",
    "OutOfMemoryError",
    "ShapeError",
    "absent",
    "describe",
    "layout_message",
]


class ShapeError(RuntimeError, ValueError):
    """Shapes, or sizes such as a stride, do not fit together."""


class DTypeError(RuntimeError, TypeError):
    """An array has an element type that the operation does not take."""


class DeviceError(RuntimeError):
    """A device does not exist, cannot be used, or two arrays live on different ones."""


class KernelError(RuntimeError):
    """A kernel could not be found, compiled or launched, or broke a rule while it ran."""


class OutOfMemoryError(MemoryError, RuntimeError):
    """A device has no memory left for an allocation."""


class FormatError(ValueError):
    """A file is not what its format says: truncated, damaged, or of another kind."""


def describe(name: str, axes: Sequence[str], shape: Sequence[int], dtype: object, device: object) -> str:
    """One input on one line: its name, each axis by name, dtype and device.

    >>> describe("x", "NCHW", (8, 3, 32, 32), "float32", "cpu")
    'x  (N=8, C=3, H=32, W=32) float32 cpu'
    """
    if len(axes) == len(shape):
        sizes = ", ".join(f"{axis}={size}" for axis, size in zip(axes, shape, strict=True))
    else:
        sizes = ", ".join(map(str, shape))
    return f"{name}  ({sizes}) {dtype} {device}"


def absent(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module: a name that PyTorch has, perhaps, and gpunet has not.

    >>> absent("gpunet.nn")("LSTM")
    Traceback (most recent call last):
    AttributeError: gpunet.nn.LSTM is not in gpunet; what is there is listed in gpunet.nn.__all__
    """

    def refuse(name: str) -> Any:
        raise AttributeError(f"{module}.{name} is not in gpunet; what is there is listed in {module}.__all__")

    return refuse


def layout_message(op: str, problem: str, *, inputs: Sequence[str] = (), expected: str = "", hint: str = "") -> str:
    """Lay out an error message: problem, inputs, expectation, hint, one line each.

    >>> print(layout_message("relu", "the input is not floating-point.", inputs=["x  (3) int64 cpu"],
    ...                      expected="float32 or float64, got int64", hint="x.astype(np.float32)"))
    relu: the input is not floating-point.
      x  (3) int64 cpu
      expected float32 or float64, got int64
      hint: x.astype(np.float32)
    """
    lines = [f"{op}: {problem}", *(f"  {line}" for line in inputs)]
    if expected:
        lines.append(f"  expected {expected}")
    if hint:
        lines.append(f"  hint: {hint}")
    return "\n".join(lines)
