"""The arguments of a kernel: what its parameters take, and how NumPy arrays and numbers become the bytes it reads."""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.errors import KernelError

__all__ = ["CParameter", "Misfit", "Parameter", "argument_converter", "argument_format", "described", "parameter_of"]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as the compiler sees it.

    Args:
        kind: 'pointer', 'int', 'uint' (bool too), 'float' or 'struct'.
        size: bytes.
        pointee: of a pointer, what it points to, like NumPy's 'f4', 'i8', 'u1', 'b1', or 'V16' for a struct of 16
            bytes and 'V0' for void; '' for the others.
        const: whether a pointer promises not to write.
        name: as in the source.
    """

    kind: str
    size: int
    pointee: str
    const: bool
    name: str = ""


class CParameter(ctypes.Structure):
    """The same as a compiled library tells it: a row of its table of parameters (cuda.h)."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("size", ctypes.c_int),
        ("offset", ctypes.c_int),
        ("pointee_kind", ctypes.c_int),
        ("pointee_size", ctypes.c_int),
        ("pointee_align", ctypes.c_int),
        ("pointee_const", ctypes.c_int),
    ]


_KINDS = {"p": "pointer", "i": "int", "u": "uint", "b": "uint", "f": "float", "s": "struct"}


def parameter_of(found: CParameter) -> Parameter:
    """Return a row of the table as people read it."""
    pointee = ""
    kind = _KINDS[chr(found.kind)]
    if kind == "pointer":
        letter = chr(found.pointee_kind)
        pointee = ("V" if letter in "vs" else "u" if letter == "p" else letter) + str(found.pointee_size)
    return Parameter(kind, found.size, pointee, bool(found.pointee_const), (found.name or b"").decode())


def argument_format(found: Sequence[CParameter]) -> str:
    """The format for struct.pack that lays the arguments out as the compiler does."""
    letters = {
        "f": {4: "f", 8: "d"},
        "i": {1: "b", 2: "h", 4: "i", 8: "q"},
        "u": {1: "B", 2: "H", 4: "I", 8: "Q"},
    }
    letters["b"] = letters["u"]
    pieces = ["="]
    end = 0
    for parameter in found:
        pieces.append("x" * (parameter.offset - end))
        kind = chr(parameter.kind)
        pieces.append("Q" if kind == "p" else f"{parameter.size}s" if kind == "s" else letters[kind][parameter.size])
        end = parameter.offset + parameter.size
    return "".join(pieces)


Misfit = Callable[..., KernelError]  # makes the error of an argument: (argument, expected, hint)


def argument_converter(parameter: Parameter, found: CParameter, wrong: Misfit) -> Callable[[Any], Any]:
    """Return a function from an argument to the value that struct packs, or to the error that `wrong` makes."""
    if parameter.kind == "pointer":
        return _pointer_converter(parameter, found.pointee_align, wrong)
    if parameter.kind == "struct":
        return _struct_converter(parameter, wrong)
    return _scalar_converter(parameter, chr(found.kind) == "b", wrong)


def _pointer_converter(parameter: Parameter, align: int, wrong: Misfit) -> Callable[[Any], int]:
    pointee, const = parameter.pointee, parameter.const
    is_struct = pointee.startswith("V")
    itemsize = int(pointee[1:])
    exact = None if is_struct else np.dtype(pointee)
    expected = f"a NumPy array of {exact or 'any dtype'}"
    if is_struct and itemsize:
        expected = f"a NumPy array of whole structs of {itemsize} bytes"

    def convert(argument: Any) -> int:
        if argument is None:
            return 0
        if not isinstance(argument, np.ndarray):
            raise wrong(argument, expected)
        if argument.dtype != exact if exact is not None else (itemsize and argument.nbytes % itemsize):
            raise wrong(argument, expected)
        address: int = argument.__array_interface__["data"][0]
        if not const and not argument.flags.writeable:
            raise wrong(argument, "an array that can be written", "declare the parameter const, or copy the array")
        if address % align:
            raise wrong(argument, f"memory aligned to {align} bytes", "copy the array")
        return address

    return convert


def _struct_converter(parameter: Parameter, wrong: Misfit) -> Callable[[Any], bytes]:
    def convert(argument: Any) -> bytes:
        if isinstance(argument, (np.ndarray, np.generic)) and argument.nbytes == parameter.size and not argument.ndim:
            return argument.tobytes()
        raise wrong(argument, f"a 0-d structured array or a NumPy scalar of {parameter.size} bytes")

    return convert


def _scalar_converter(parameter: Parameter, is_bool: bool, wrong: Misfit) -> Callable[[Any], int | float]:
    size = parameter.size
    dtype = np.dtype("?") if is_bool else np.dtype(f"{parameter.kind[0]}{size}")
    if parameter.kind == "float":
        largest = float(np.finfo(dtype).max)

        def convert_float(argument: Any) -> float:
            if type(argument) is float:
                if abs(argument) > largest and math.isfinite(argument):
                    raise wrong(argument, f"a float that fits {dtype}")
                return argument
            if isinstance(argument, (np.generic, np.ndarray)) and argument.dtype == dtype and not argument.ndim:
                return float(argument)
            raise wrong(argument, f"a float or a NumPy {dtype}", f"float(x) or np.{dtype}(x)")

        return convert_float
    low, high = (0, 1) if is_bool else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))

    def convert_int(argument: Any) -> int:
        if type(argument) is int or (is_bool and type(argument) is bool):
            if not low <= argument <= high:
                raise wrong(argument, f"an integer from {low} to {high} ({dtype})")
            return int(argument)
        if isinstance(argument, (np.generic, np.ndarray)) and argument.dtype == dtype and not argument.ndim:
            return int(argument)
        raise wrong(argument, f"an int or a NumPy {dtype}", f"int(x) or np.{dtype}(x)")

    return convert_int


def described(argument: Any) -> str:
    """Return an argument in words, for messages."""
    if isinstance(argument, np.ndarray):
        sizes = ", ".join(map(str, argument.shape))
        return f"an array ({sizes}) {argument.dtype}"
    if isinstance(argument, np.generic):
        return f"{argument.dtype} {argument}"
    return f"{type(argument).__name__} {argument!r:.60}"
