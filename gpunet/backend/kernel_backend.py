"""The half of a backend that launches our kernels; CuPy and the emulator supply the rest."""

from __future__ import annotations

import abc
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import copies, kernels
from gpunet.backend.base import Array, Backend
from gpunet.backend.layout import CONTIGUOUS, from_memory_view, layout_of, memory_view
from gpunet.errors import KernelError

__all__ = ["KernelBackend", "blocks", "power_of_two", "vector_blocks"]

MAX_AXES = 8  # of the strided-copy and broadcasting kernels; must equal MAX_AXES of kernels/common.cuh
_MAX_GRID = (2**31 - 1, 65535, 65535)

Function = Callable[[tuple[int, ...], tuple[int, ...], Sequence[Any], int], None]


def blocks(count: int, per_block: int = 256) -> int:
    """Return how many blocks cover `count` items."""
    return -(-count // per_block)


def power_of_two(least: int) -> int:
    """Return the smallest power of two that is at least so large.

    >>> power_of_two(0), power_of_two(8), power_of_two(9)
    (1, 8, 16)
    """
    return 1 << max(least - 1, 0).bit_length()


def vector_blocks(*arrays: Array) -> int:
    """Return how many blocks of 256 threads cover arrays of one size, a thread moving 16 bytes of the widest dtype."""
    return blocks(arrays[0].size, 256 * 16 // max(array.itemsize for array in arrays))


class KernelBackend(Backend):
    """A backend whose ops run CUDA kernels.

    `launched` counts launches by kernel name, `host_reads` and `host_writes` count transfers. Kernels that
    meet a user's mistake on the device write a code to `error_word`; the next host read raises it. `arch` is the GPU's
    compute capability times ten, `max_shared_bytes` what a block may have of shared memory, `gpu` the model's name.
    """

    uses_kernels = True
    arch: int
    gpu: str
    max_shared_bytes: int

    def __init__(self) -> None:
        self.launched: Counter[str] = Counter()
        self.host_reads = 0
        self.host_writes = 0
        self._functions: dict[tuple[Any, ...], tuple[kernels.Kernel, list[np.dtype[Any]], Function]] = {}
        self._errors: list[Exception] = []
        self._error_word: Array | None = None

    # What CuPy and the emulator each do in their own way.

    @abc.abstractmethod
    def _compile(self, source: kernels.Source, defines: dict[str, str]) -> Callable[[str], Function]:
        """Compile a source; return what finds a kernel's function by name."""

    @abc.abstractmethod
    def _owns(self, array: object) -> bool:
        """Say whether an object is an array of this backend on this device."""

    @abc.abstractmethod
    def _download(self, array: Array) -> npt.NDArray[Any]:
        """Copy to the host; the result is C-contiguous."""

    @abc.abstractmethod
    def _upload(self, array: npt.NDArray[Any]) -> Array:
        """Copy to the device; the result is C-contiguous."""

    # Launching.

    def launch(
        self,
        file: str,
        name: str,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        args: Sequence[Any],
        *,
        shared: int = 0,
        **macros: npt.DTypeLike,
    ) -> None:
        """Launch a kernel of `kernels/<file>` with checked arguments; nothing is launched for an empty grid.

        Args:
            file: name of the `.cu` file.
            name: name of the kernel.
            grid: blocks, up to three axes.
            block: threads per block, up to three axes.
            args: arrays of this backend (dense, unless their names say else), None for a `*_or_null` pointer, scalars,
                structs.
            shared: dynamic shared memory in bytes.
            macros: dtypes for the file's macros, such as REAL=np.float32; TILE and HALO_TILE take text.

        Raises:
            KernelError: a wrong count, dtype, device, alignment, gaps in an array, or a grid too large.
        """
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = block if isinstance(block, tuple) else (block,)
        if 0 in grid:
            return
        if any(size > limit for size, limit in zip(grid, _MAX_GRID, strict=False)):
            raise KernelError(f"{name}: the grid {grid} exceeds the limit {_MAX_GRID}")
        kernel, dtypes, function = self._function(file, name, macros)
        checked = self._check(kernel, dtypes, args)
        function(grid, block, checked, shared)
        self.launched[name] += 1

    def _function(
        self, file: str, name: str, macros: dict[str, Any]
    ) -> tuple[kernels.Kernel, list[np.dtype[Any]], Function]:
        """Find a compiled kernel and the dtypes of its parameters, compiling on first use."""
        key = (
            file,
            name,
            *sorted((macro, value if "TILE" in macro else np.dtype(value).char) for macro, value in macros.items()),
        )
        if key not in self._functions:
            source = kernels.load(file)
            kernel = source.kernel(name)
            defines = {macro: value if "TILE" in macro else kernels.c_type(value) for macro, value in macros.items()}
            if set(defines) != set(source.macros):
                raise KernelError(f"{file} needs the macros {source.macros}, got {tuple(defines)}")
            dtypes = [source.dtype(parameter.type, defines) for parameter in kernel.parameters]
            self._functions[key] = kernel, dtypes, self._module(file, tuple(sorted(defines.items())))(name)
        return self._functions[key]

    def build(self, file: str, defines: Mapping[str, str]) -> None:
        """Compile a variant of a file (see `kernels.variants`) as its first launch would.

        Compilers keep what they made on disk, so what one process builds, others find.
        """
        self._module(file, tuple(sorted(defines.items())))(next(iter(kernels.load(file).kernels)))

    @functools.cache  # noqa: B019 - backends live as long as the process
    def _module(self, file: str, defines: tuple[tuple[str, str], ...]) -> Callable[[str], Function]:
        return self._compile(kernels.load(file), dict(defines))

    def _check(self, kernel: kernels.Kernel, dtypes: Sequence[np.dtype[Any]], args: Sequence[Any]) -> list[Any]:
        """Return the arguments ready to pass, or raise a KernelError that names the wrong one."""
        if len(args) != len(kernel.parameters):
            expected = ", ".join(parameter.name for parameter in kernel.parameters)
            raise KernelError(f"{kernel.name}: takes {len(kernel.parameters)} arguments ({expected}), got {len(args)}")
        checked = []
        for parameter, dtype, value in zip(kernel.parameters, dtypes, args, strict=True):
            if not parameter.pointer:
                value = kernels.scalar_bytes(kernel, parameter, dtype, value)
            elif value is None:
                if not parameter.nullable:
                    raise KernelError(f"{kernel.name}: {parameter.name} must not be null")
            elif problem := self._array_problem(value, dtype, parameter):
                raise KernelError(f"{kernel.name}: {parameter.name} {problem}")
            checked.append(value)
        return checked

    def _array_problem(self, array: Any, dtype: np.dtype[Any], parameter: kernels.Parameter) -> str | None:
        """Say what makes an array unfit for a pointer parameter, or None."""
        if not self._owns(array):
            return f"must be an array on {self.device}, got {type(array).__module__}.{type(array).__name__}"
        if parameter.any_memory:
            return None
        if array.dtype != dtype:
            return f"must be {dtype}, got {array.dtype}"
        if not self._is_aligned(array):
            return f"is not aligned to {dtype.itemsize} bytes"
        if not parameter.gaps and layout_of(array) is None:
            return f"must be dense, got strides {array.strides} for shape {array.shape}"
        return None

    def struct(self, file: str, name: str, **fields: Any) -> npt.NDArray[Any]:
        """Return a by-value struct argument; every field of the C struct must be given."""
        dtype = kernels.load(file).dtype(name, {})
        if set(fields) != set(dtype.names or ()):
            raise KernelError(f"struct {name} has the fields {dtype.names}, got {tuple(fields)}")
        value = np.zeros((), dtype)
        for field, content in fields.items():
            try:
                value[field] = content
            except OverflowError:
                kind = dtype[field].base
                raise KernelError(f"struct {name}: {field} is {kind}, which cannot hold {content}") from None
        return value

    # Errors that only the device sees.

    @property
    def error_word(self) -> Array:
        """An int32 array of one element on the device: 0, or the code of the first error."""
        if self._error_word is None:
            self._error_word = self.zeros((1,), np.int32)
        return self._error_word

    def error_code(self, error: Exception) -> int:
        """Return the code that a kernel writes to `error_word` so that the next host read raises `error`."""
        for code, known in enumerate(self._errors, start=1):
            if type(known) is type(error) and str(known) == str(error):
                return code
        self._errors.append(error)
        return len(self._errors)

    def _raise_device_error(self) -> None:
        if self._error_word is None:
            return
        code = int(self._download(self._error_word)[0])
        if code:
            self.fill(self._error_word, 0)
            raise type(self._errors[code - 1])(str(self._errors[code - 1]))

    # Transfers, and the kernels every backend needs.

    def from_numpy(self, array: npt.NDArray[Any]) -> Array:
        """Move a NumPy array to the device, its memory layout kept where it is a layout of ours."""
        self.host_writes += 1
        layout = layout_of(array) or CONTIGUOUS
        return from_memory_view(self._upload(memory_view(array, layout)), layout)

    def to_numpy(self, array: Array) -> npt.NDArray[Any]:
        """Copy an array to the host; raises what a kernel reported since the last read."""
        self.host_reads += 1
        layout = layout_of(array) or CONTIGUOUS
        host: npt.NDArray[Any] = from_memory_view(self._download(memory_view(array, layout)), layout)
        self._raise_device_error()
        return host

    def fill(self, out: Array, value: float) -> None:
        """Set every element of a dense array, by a kernel."""
        words = _words(out)
        bits = np.array(value, out.dtype).view(words.dtype)[()]
        self.launch("copy.cu", "fill", vector_blocks(out), 256, (words, bits, out.size), ELEMENT=words.dtype)

    def copy(self, out: Array, array: Array) -> None:
        """Copy between arrays with any strides and alignment, by a kernel; elements of `out` share no memory."""
        if array.dtype != out.dtype or array.shape != out.shape:
            raise KernelError(f"copy: {array.shape} {array.dtype} does not fit {out.shape} {out.dtype}")
        if out.size == 0:
            return
        todo = copies.plan(out, array, aligned=self._is_aligned(out) and self._is_aligned(array))
        if 0 in todo.out_strides:
            raise KernelError(f"copy: elements of out share memory, with strides {out.strides} for shape {out.shape}")
        axes = (self.axes(todo.sizes, strides) for strides in (todo.out_strides, todo.x_strides))
        args = (out, array, *axes, *todo.rest)
        self.launch("copy.cu", todo.kernel, todo.grid, 256, args, ELEMENT=_word(out.dtype))

    def axes(self, sizes: Sequence[int], strides: Sequence[int]) -> npt.NDArray[Any]:
        """Return the by-value struct `Axes` of kernels/common.cuh: how to walk one operand."""
        if len(sizes) > MAX_AXES:
            raise KernelError(f"kernels walk at most {MAX_AXES} axes, got sizes {tuple(sizes)}")
        rest = [0] * (MAX_AXES - len(sizes))
        return self.struct("copy.cu", "Axes", count=len(sizes), size=[*sizes, *rest], stride=[*strides, *rest])


def _words(array: Array) -> Array:
    """View an array's elements as unsigned integers of the same size."""
    return array.view(_word(array.dtype))


def _word(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the unsigned integer that is as wide as a dtype."""
    if dtype.itemsize not in (1, 2, 4, 8):
        raise KernelError(f"copy and fill: kernels move elements of 1, 2, 4 or 8 bytes, got {dtype}")
    return np.dtype(f"u{dtype.itemsize}")
