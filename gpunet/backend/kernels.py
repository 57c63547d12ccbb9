"""Finds the CUDA sources, reads their signatures, and checks arguments before anything is launched.

The `.cu` text is the one place where a kernel's parameters and structs are declared: NumPy dtypes for
structs that travel by value are derived from it, so host and kernel cannot drift apart.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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
    "read",
    "runs_on",
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
    # What users' files have besides.
    "bool": np.dtype(np.bool_),
    "signed char": np.dtype(np.int8),
    "char": np.dtype(np.int8),
    "short": np.dtype(np.int16),
    "size_t": np.dtype(np.uint64),
    **{f"{kind}{bits}_t": np.dtype(f"{kind}{bits}") for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
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

    def __str__(self) -> str:
        return f"{'const ' if self.const else ''}{self.type}{'* ' if self.pointer else ' '}{self.name}"

    @property
    def nullable(self) -> bool:
        """A pointer may be null exactly when its name says so."""
        return self.name.endswith("_or_null")

    @property
    def any_memory(self) -> bool:
        """A pointer takes any dtype, strides and alignment exactly when its name says bytes."""
        return self.name.endswith("_bytes")

    @property
    def gaps(self) -> bool:
        """A pointer takes any strides, though whole and aligned elements, exactly when its name says so."""
        return self.name.endswith("_strided")


@dataclass(frozen=True)
class Kernel:
    """A kernel's name, its parameters and its launch bounds as written, or None."""

    name: str
    parameters: tuple[Parameter, ...]
    launch_bounds: str | None


@dataclass(frozen=True)
class Source:
    """One `.cu` file with its own includes inlined, and what it declares."""

    file: str
    text: str
    kernels: Mapping[str, Kernel]
    structs: Mapping[str, str]  # name -> the text between its braces
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
            for field, kind, count in self._fields(name)
        ]
        return np.dtype(fields, align=True)

    def _fields(self, struct: str) -> Iterator[tuple[str, str, int]]:
        """Yield (name, type, count or 0) of a struct's fields."""
        for line in filter(None, map(str.strip, self.structs[struct].split(";"))):
            declaration = re.fullmatch(r"([A-Za-z_][\w ]*?)\s+((?:\w+(?:\[\d+\])?\s*,\s*)*\w+(?:\[\d+\])?)", line)
            if declaration is None:
                raise KernelError(f"{self.file}: cannot read the field {line!r} of struct {struct}")
            for field in declaration[2].split(","):
                label, _, count = field.strip().rstrip("]").partition("[")
                yield label, declaration[1], int(count or 0)

    def kernel(self, name: str) -> Kernel:
        """Return one kernel; KernelError with the names there are if it is missing."""
        try:
            return self.kernels[name]
        except KeyError:
            raise KernelError(f"{self.file} has no kernel {name!r}; it has {', '.join(self.kernels)}") from None


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)".*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once.*$", re.MULTILINE)
_BOUNDS = r"(?:__launch_bounds__\s*\(((?:[^()]|\([^()]*\))*)\)\s*)?"
_KERNEL = re.compile(rf'extern\s+"C"\s+__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(([^)]*)\)')
_STRUCT = re.compile(r"struct\s+(\w+)\s*\{([^{}()]*)\}\s*;")
_PARAMETER = re.compile(r"([A-Za-z_][\w ]*?)\s*(\*?)\s*\b(\w+)\s*(\[\s*\d*\s*\])?")
_QUALIFIER = re.compile(r"\b(?:__restrict__|__restrict|volatile|struct|__grid_constant__)\b")
_REQUIRED = re.compile(r"^#ifndef (\w+)\s*\n#error", re.MULTILINE)


def _inline(path: Path, label: str, seen: set[Path]) -> str:
    """Return a file's text with the files it includes in place, each once, and #line telling where from.

    Args:
        path: the file; what it includes is looked for beside it.
        label: what the compilers call it in messages.
        seen: the files that are in the text already.

    Raises:
        KernelError: a file is missing or is no text.
    """
    seen.add(path.resolve())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise KernelError(f"{label}: the file cannot be read: {reason}") from None

    def replace(match: re.Match[str]) -> str:
        included, line = path.parent / match[1], text.count("\n", 0, match.end()) + 1
        if not included.is_file():
            raise KernelError(f'{label}:{line}: there is no file "{match[1]}" beside {path.name}')
        if included.resolve() in seen:
            return ""
        inner = _inline(included, (PurePosixPath(label).parent / match[1]).as_posix(), seen)
        return f'{_ONCE.sub("", inner)}\n#line {line + 1} "{label}"'

    return f'#line 1 "{label}"\n' + _INCLUDE.sub(replace, text)


def _parameter(text: str) -> Parameter | None:
    """Read one parameter: by value, or a pointer to what the host hands over; None for anything else."""
    pointee, star, after = _QUALIFIER.sub(" ", text).partition("*")
    plain = " ".join(re.sub(r"\bconst\b", " ", pointee + star + after).split())
    match = _PARAMETER.fullmatch(plain)
    if match is None:
        return None
    kind, pointer, name, bracket = match.groups()
    return Parameter(name, kind, bool(pointer or bracket), bool(re.search(r"\bconst\b", pointee)))


def parse(file: str, text: str) -> Source:
    """Read the kernels and structs that a source declares."""
    bare = _COMMENT.sub(" ", text)
    structs = dict(_STRUCT.findall(bare))
    kernels = {}
    for before, after, name, parameter_list in _KERNEL.findall(bare):
        parameters = []
        for text_of_one in filter(None, map(str.strip, re.sub(r"^\s*void\s*$", "", parameter_list).split(","))):
            parameter = _parameter(text_of_one)
            if parameter is None:
                raise KernelError(f"{file}: cannot read the parameter {text_of_one!r} of {name}")
            parameters.append(parameter)
        kernels[name] = Kernel(name, tuple(parameters), (before or after) or None)
    return Source(file, text, kernels, structs, tuple(dict.fromkeys(_REQUIRED.findall(text))))


@functools.cache
def load(file: str) -> Source:
    """Read one kernel file from `kernel_dir()`, includes inlined."""
    folder = kernel_dir()
    if not (folder / file).is_file():
        raise KernelError(f"there is no kernel file {file!r} in {folder}; there are {', '.join(kernel_files())}")
    return parse(file, _inline(folder / file, file, set()))


def read(path: str | os.PathLike[str]) -> Source:
    """Read anybody's kernel file, with the files that it includes from beside it inlined.

    Raises:
        KernelError: a file cannot be read, or declares no kernel.
    """
    label = Path(path).as_posix()
    source = parse(label, _inline(Path(path), label, set()))
    if not source.kernels:
        raise KernelError(
            layout_message(
                label,
                "the file declares no kernel.",
                expected='at least one function declared extern "C" __global__ void name(...)',
                hint='write extern "C" before each kernel: CuPy and the emulator find kernels by their plain names',
            )
        )
    return source


def scalar_bytes(kernel: Kernel, parameter: Parameter, dtype: np.dtype[Any], value: Any) -> Any:
    """Return a by-value argument as a NumPy scalar of the parameter's dtype, or raise KernelError."""
    if isinstance(value, np.ndarray | np.void):
        if value.dtype == dtype and value.ndim == 0:
            return value
    elif dtype.kind == "f" and isinstance(value, float | int | np.floating):
        with np.errstate(over="ignore"):  # what overflows becomes infinite, without a word, as on the CPU
            return dtype.type(value)
    elif dtype.kind in "iu" and isinstance(value, int | np.integer) and not isinstance(value, bool):
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max:
            return dtype.type(value)
    raise KernelError(
        f"{kernel.name}: parameter {parameter.name} is {parameter.type} ({dtype}), which cannot hold {value!r}"
    )


_REALS = {"float": "float", "double": "double", "half": "float", "bfloat16": "float"}  # and what they are computed in

# Rows and columns of a block's tile, bytes of depth of a slice, rows and columns of a warp's part; kernels/tiles.cuh.
_MMA_TILES = ("128,128,128,64,32", "128,64,128,32,32", "64,64,128,32,32", "128,32,64,32,32")
_FMA_TILES = ("128,128,64,32,64,FMA", "64,64,64,32,64,FMA", "128,32,64,32,32,FMA")
_HALO_TILES = ("128,128,128,64,32", "256,64,128,64,32", "128,32,64,32,32")

# The values each macro takes: together the variants in which a file is ever compiled.
MACRO_VALUES = {
    "REAL": tuple(_REALS),
    "OUT": tuple(_REALS),
    "TO": tuple(_REALS),
    "PARAM": tuple(_REALS),
    "ELEMENT": ("unsigned char", "unsigned short", "unsigned", "unsigned long long"),
    "INDEX": ("unsigned char", "int"),
    "TILE": (*_MMA_TILES, *_FMA_TILES),
    "HALO_TILE": _HALO_TILES,
}

LEAST_MMA_ARCH = 80  # tensor cores that multiply TF32 and bfloat16


def variants(file: str) -> list[dict[str, str]]:
    """Return every set of macro definitions that a kernel file is compiled with."""
    sets: list[dict[str, str]] = [{}]
    for macro in load(file).macros:
        sets = [{**defines, macro: value} for defines in sets for value in MACRO_VALUES[macro]]
    return [defines for defines in sets if _is_met(defines)]


def _is_met(defines: Mapping[str, str]) -> bool:
    """Say whether a combination occurs: OUT is computed like REAL; PARAM is REAL, or what that is computed in;
    tiles by multiply-adds are for float, those of tensor cores for all but double.
    """
    real = defines.get("REAL", "float")
    tile = defines.get("TILE") or defines.get("HALO_TILE")
    if tile and (real != "float" if "FMA" in tile else real == "double"):
        return False
    out, param = defines.get("OUT", real), defines.get("PARAM", real)
    return _REALS[out] == _REALS[real] and param in (real, _REALS[real])


def runs_on(defines: Mapping[str, str], arch: int) -> bool:
    """Say whether a variant is ever launched on a GPU: tiles of tensor cores only where there are such.

    >>> runs_on({"TILE": "64,64,64,32,64,FMA"}, 75), runs_on({"TILE": "64,64,128,32,32"}, 75)
    (True, False)
    """
    tile = defines.get("TILE") or defines.get("HALO_TILE")
    return arch >= LEAST_MMA_ARCH or tile is None or "FMA" in tile
