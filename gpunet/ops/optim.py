"""What optimizer steps share: ops over flat buffers that change their inputs and have no gradient.

A chunk table says which runs of the buffers to update. Each chunk has a counter of its own, so that late and frozen
parameters count their own steps, a kernel needs no word from the host, and a CUDA graph can replay it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpunet.backend import Array, Backend
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops.arguments import require_writable
from gpunet.ops.base import Op
from gpunet.ops.chunks import read_table
from gpunet.ops.elementwise import pieces

__all__ = ["OptimizerStep"]


class OptimizerStep(Op):
    """Base of the steps: their inputs are param, grad, the state, steps, chunks and lr."""

    state: ClassVar[tuple[str, ...]] = ()  # names of the state buffers
    outputs = ()

    def __init_subclass__(cls) -> None:
        cls.inputs = ("param", "grad", *cls.state, "steps", "chunks", "lr")
        cls.mutates = ("param", *cls.state, "steps")

    def infer(self, *arrays: Any, **attrs: Any) -> tuple[()]:
        """Check that all buffers have the size of param, and their dtypes."""
        named = dict(zip(self.inputs, arrays, strict=True))
        param, grad, lr = arrays[0], arrays[1], arrays[-1]
        self.require_floats(param=param, grad=grad)
        for name in (*self.state, "lr", "steps", "chunks"):
            array, wanted = named[name], np.int64 if name in ("steps", "chunks") else accumulator(param.dtype)
            if array is not None and array.dtype != wanted:
                expected, shown = f"{np.dtype(wanted)}, got {array.dtype}", {"param": param, name: array}
                raise self.error(DTypeError, f"{name} has the wrong dtype.", expected=expected, **shown)
        if (
            any(
                named[name] is not None and named[name].shape != (param.size,)
                for name in ("param", "grad", *self.state)
            )
            or named["steps"].ndim != 1
            or named["chunks"].shape[1:] != (3,)
            or lr.shape != (1,)
        ):
            expected = f"param, grad, {', '.join(self.state)} (size,), steps (counters,), chunks (n, 3), lr (1,)"
            raise self.error(ShapeError, "the buffers do not match.", expected=expected, **named)
        require_writable(self.__name__, **{name: named[name] for name in self.mutates})
        return ()

    @staticmethod
    def rows(be: Backend, param: Array, steps: Array, chunks: Array) -> list[tuple[slice, int]]:
        """Return (elements, counter) of each chunk that has both."""
        table = read_table(be, param.size, chunks)
        return [row for row in table if row[0].start < row[0].stop and 0 <= row[1] < steps.size]

    @classmethod
    def runs(cls, be: Backend, param: Array, steps: Array, chunks: Array) -> tuple[list[tuple[slice, int]], list[int]]:
        """Return what the CPU updates at once, (elements, steps so far) of chunks that adjoin, and all counters."""
        merged: list[tuple[slice, int]] = []
        rows = cls.rows(be, param, steps, chunks)
        for part, counter in rows:
            count, start = int(steps[counter]), part.start
            if merged and merged[-1][0].stop == start and merged[-1][1] == count:
                start = merged.pop()[0].start
            merged.append((slice(start, part.stop), count))
        runs = [
            (slice(part.start + piece.start, part.start + piece.stop), count)
            for part, count in merged
            for piece in pieces(part.stop - part.start)
        ]
        return runs, [counter for _, counter in rows]

    def launch(self, be: KernelBackend, arrays: tuple[Any, ...], settings: dict[str, Any]) -> None:
        """Launch the kernel of the op's name: its inputs, its settings, and what keeps it inside the buffers."""
        param, steps, chunks = arrays[0], arrays[-3], arrays[-2]
        numbers = [int(value) if isinstance(value, bool) else value for value in settings.values()]
        args = (*arrays, *numbers, param.size, steps.size, be.error_word)
        be.launch("optim.cu", self.__name__, chunks.shape[0], 256, args, REAL=param.dtype)
