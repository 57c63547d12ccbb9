"""Devices are objects; this module is the only place where their names are strings."""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.errors import DeviceError, layout_message

__all__ = ["Device"]

_TYPES = ("cpu", "cuda", "emulated")


@dataclass(frozen=True, slots=True)
class Device:
    """Where arrays live: the CPU (NumPy), one GPU (CuPy), or the emulated GPU.

    >>> Device.parse("cuda"), Device.parse("cpu")
    (device('cuda:0'), device('cpu'))
    """

    type: str
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read "cpu", "cuda", "cuda:1" or "emulated"; anything else is a DeviceError."""
        kind, colon, index = text.partition(":")
        if kind not in _TYPES or (colon and not (kind == "cuda" and index.isdecimal())):
            raise DeviceError(
                layout_message(
                    "device",
                    f"there is no device {text!r}.",
                    expected='"cpu", "cuda", "cuda:<index>", "emulated" or "auto"',
                )
            )
        return cls(kind, int(index or 0))

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.type == "cuda" else self.type

    def __repr__(self) -> str:
        return f"device('{self}')"
