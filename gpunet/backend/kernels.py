"""Finds the CUDA sources, reads their signatures, and checks arguments before anything is launched.

The `.cu` text is the one place where a kernel's parameters and structs are declared: NumPy dtypes for
structs that travel by value are derived from it, so host and kernel cannot drift apart.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import dtypes
from gpunet.errors import KernelError, layout_message

__all__ = [
    "Kernel",
    "Parameter",
    "Source",
    "c_type",
    "kernel_dir",
    "kernel_files",
    "load",
    "scalar_bytes",
    "variants",
]

_KNOWN_FILE = "common.cuh"

C_TYPES = {
    "half": np.dtype(np.float16),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "unsigned": np.dtype(np.uint32),
    "unsigned int": np.dtype(np.uint32),
    "long long": np.dtype(np.int64),
    "unsigned long long": np.dtype(np.uint64),
    "unsigned char": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),
}
_C_NAMES = {dtype: name for name, dtype in reversed(C_TYPES.items())}


def c_type(dtype: Any) -> str:
    """Return the C name of a dtype, as kernels receive it by -D.

    >>> c_type(np.float32), c_type(np.int64)
    ('float', 'long long')
    """
    wanted = np.dtype(dtype)
    if wanted.name == "bfloat16":
        return "bfloat16"
    try:
        return _C_NAMES[wanted]
    except KeyError:
        raise KernelError(f"kernels have no C type for dtype {wanted}") from None


def kernel_dir() -> Path:
    """Return the folder of the `.cu` files: inside the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    candidates = (package / "kernels", package.parent / "kernels")
    for folder in candidates:
        if (folder / _KNOWN_FILE).is_file():
            return folder
    raise KernelError(
        layout_message(
            "kernels",
            "the CUDA sources are missing.",
            inputs=[f"looked in {folder}" for folder in candidates],
            hint="reinstall gpunet: its wheel carries the kernels",
        )
    )


def kernel_files() -> list[str]:
    """Return the names of all kernel sources, sorted."""
    return sorted(path.name for path in kernel_dir().glob("*.cu"))


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter: `const REAL* __restrict__ x` is (x, REAL, pointer, const)."""

    name: str
    type: str
    pointer: bool = False
    const: bool = False

    @property
    def nullable(self) -> bool:
        """A pointer may be null exactly when its name says so."""
        return self.name.endswith("_or_null")

    @property
    def any_memory(self) -> bool:
        """A pointer takes any dtype, strides and alignment exactly when its name says bytes."""
        return self.name.endswith("_bytes")


@dataclass(frozen=True)
class Kernel:
    """A kernel's name, its parameters and its launch bounds (threads per block), or None."""

    name: str
    parameters: tuple[Parameter, ...]
    max_threads: str | None


@dataclass(frozen=True)
class Source:
    """One `.cu` file with its own includes inlined, and what it declares."""

    file: str
    text: str
    kernels: Mapping[str, Kernel]
    structs: Mapping[str, tuple[tuple[str, str, int], ...]]  # name -> (field, type, count)
    macros: tuple[str, ...]  # what the host must define by -D

    def dtype(self, c_name: str, defines: Mapping[str, str]) -> Any:
        """Return the NumPy dtype of a C type or struct of this file, macros resolved by `defines`.

        ACC is what REAL is computed in, as in kernels/common.cuh.
        """
        if c_name == "ACC" and "REAL" in defines:
            return dtypes.accumulator(self.dtype("REAL", defines))
        name = defines.get(c_name, c_name)
        if name == "bfloat16":
            return dtypes.bfloat16()
        if name in C_TYPES:
            return C_TYPES[name]
        if name not in self.structs:
            raise KernelError(f"{self.file}: unknown type {c_name!r}")
        fields: list[Any] = [
            (field, self.dtype(kind, defines), (count,)) if count else (field, self.dtype(kind, defines))
            for field, kind, count in self.structs[name]
        ]
        return np.dtype(fields, align=True)

    def kernel(self, name: str) -> Kernel:
        """Return one kernel; KernelError with the names there are if it is missing."""
        try:
            return self.kernels[name]
        except KeyError:
            raise KernelError(f"{self.file} has no kernel {name!r}; it has {', '.join(self.kernels)}") from None


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#include[ \t]+"([^"]+)"[ \t]*$', re.MULTILINE)
_BOUNDS = r"(?:__launch_bounds__\s*\(([^)]*)\)\s*)?"
_KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(([^)]*)\)')
_STRUCT = re.compile(r"struct\s+(\w+)\s*\{([^{}()]*)\}\s*;")
_PARAMETER = re.compile(r"(const\s+)?([A-Za-z_][\w ]*?)\s*(\*?)\s*(?:__restrict__\s+)?(\w+)")
_REQUIRED = re.compile(r"^#ifndef (\w+)\s*\n#error", re.MULTILINE)


def _inline(file: str, folder: Path, seen: set[str]) -> str:
    """Return a file's text with its own includes in place, each once, and #line telling where from."""
    seen.add(file)
    text = (folder / file).read_text(encoding="utf-8")

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        following = text.count("\n", 0, match.end()) + 2
        if name in seen:
            return ""
        return f'{_inline(name, folder, seen)}\n#line {following} "{file}"'

    return f'#line 1 "{file}"\n' + _INCLUDE.sub(replace, text)


def parse(file: str, text: str) -> Source:
    """Read the kernels and structs that a source declares."""
    bare = _COMMENT.sub(" ", text)
    structs: dict[str, tuple[tuple[str, str, int], ...]] = {}
    for name, body in _STRUCT.findall(bare):
        fields: list[tuple[str, str, int]] = []
        for line in filter(None, map(str.strip, body.split(";"))):
            declaration = re.fullmatch(r"([A-Za-z_][\w ]*?)\s+((?:\w+(?:\[\d+\])?\s*,\s*)*\w+(?:\[\d+\])?)", line)
            if declaration is None:
                raise KernelError(f"{file}: cannot read the field {line!r} of struct {name}")
            for field in declaration[2].split(","):
                label, _, count = field.strip().rstrip("]").partition("[")
                fields.append((label, declaration[1], int(count or 0)))
        structs[name] = tuple(fields)
    kernels = {}
    for before, after, name, parameter_list in _KERNEL.findall(bare):
        parameters = []
        for text_of_one in filter(None, map(str.strip, parameter_list.split(","))):
            match = _PARAMETER.fullmatch(text_of_one)
            if match is None:
                raise KernelError(f"{file}: cannot read the parameter {text_of_one!r} of {name}")
            const, kind, star, label = match.groups()
            parameters.append(Parameter(label, kind.strip(), bool(star), bool(const)))
        kernels[name] = Kernel(name, tuple(parameters), (before or after) or None)
    return Source(file, text, kernels, structs, tuple(dict.fromkeys(_REQUIRED.findall(text))))


@functools.cache
def load(file: str) -> Source:
    """Read one kernel file from `kernel_dir()`, includes inlined."""
    folder = kernel_dir()
    if not (folder / file).is_file():
        raise KernelError(f"there is no kernel file {file!r} in {folder}; there are {', '.join(kernel_files())}")
    return parse(file, _inline(file, folder, set()))


def scalar_bytes(kernel: Kernel, parameter: Parameter, dtype: np.dtype[Any], value: Any) -> Any:
    """Return a by-value argument as a NumPy scalar of the parameter's dtype, or raise KernelError."""
    if isinstance(value, np.ndarray | np.void):
        if value.dtype == dtype and value.ndim == 0:
            return value
    elif dtype.kind == "f" and isinstance(value, float | int | np.floating):
        return dtype.type(value)
    elif dtype.kind in "iu" and isinstance(value, int | np.integer) and not isinstance(value, bool):
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max:
            return dtype.type(value)
    raise KernelError(
        f"{kernel.name}: parameter {parameter.name} is {parameter.type} ({dtype}), which cannot hold {value!r}"
    )


_REALS = {"float": "float", "double": "double", "half": "float", "bfloat16": "float"}  # and what they are computed in

# The values each macro takes: together the variants in which a file is ever compiled.
MACRO_VALUES = {
    "REAL": tuple(_REALS),
    "OUT": tuple(_REALS),
    "TO": tuple(_REALS),
    "PARAM": tuple(_REALS),
    "ELEMENT": ("unsigned char", "unsigned short", "unsigned", "unsigned long long"),
    "INDEX": ("unsigned char", "int"),
}


def variants(file: str) -> list[dict[str, str]]:
    """Return every set of macro definitions that a kernel file is compiled with."""
    sets: list[dict[str, str]] = [{}]
    for macro in load(file).macros:
        sets = [{**defines, macro: value} for defines in sets for value in MACRO_VALUES[macro]]
    return [defines for defines in sets if _is_met(defines)]


def _is_met(defines: Mapping[str, str]) -> bool:
    """Say whether a combination occurs: OUT is computed like REAL; PARAM is REAL, or what that is computed in."""
    real = defines.get("REAL", "float")
    out, param = defines.get("OUT", real), defines.get("PARAM", real)
    return _REALS[out] == _REALS[real] and param in (real, _REALS[real])
