"""Flat buffers: the parameters, gradients and state of one device and dtype, each in one piece of memory.

An optimizer step is then one launch, however many parameters there are. Parameters become views of the flat
buffer and stay the same objects; backward writes gradients straight into their slots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.layout import Layout, from_memory_view, memory_order
from gpunet.tensor import Parameter

__all__ = ["FlatBuffers"]

_ALIGNMENT = 32  # elements: every parameter starts on a 128-byte line
_KERNEL_CHUNK, _CPU_CHUNK = 4096, 65536  # elements that one block, or one pass through the cache, updates


class FlatBuffers:
    """The parameters of one group that share a device and dtype.

    Attributes:
        values, gradients: (size,) arrays that the parameters and their gradients are views of.
        state: further (size,) arrays by name, made of zeros on first use.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        self.backend = backend.of(parameters[0].array)
        dtype = parameters[0].dtype
        ends = np.cumsum([-(-p.numel() // _ALIGNMENT) * _ALIGNMENT for p in parameters])
        self._starts = [0, *ends[:-1].tolist()]
        size = int(ends[-1])
        self.values, self.gradients = (self.backend.zeros((size,), dtype) for _ in range(2))
        self.state: dict[str, Array] = {}
        self._fresh: set[int] = set(range(len(self.parameters)))
        self._chunks: dict[tuple[tuple[int, bool], ...], Array] = {}
        self._scalars: dict[str, tuple[float, Array]] = {}
        self._views: list[Array] = []
        for parameter, start in zip(self.parameters, self._starts, strict=True):
            layout = layout_of(parameter.array) or CONTIGUOUS
            view, slot = (_view(flat, start, parameter.shape, layout) for flat in (self.values, self.gradients))
            self.backend.copy(view, parameter.array)
            parameter._move(view, slot)
            self._views.append(view)

    def current(self) -> bool:
        """Say whether the parameters still live here: `.to(device)` moves them away."""
        return all(p.array is view for p, view in zip(self.parameters, self._views, strict=True))

    def state_buffer(self, name: str) -> Array:
        """Return the state array of a name."""
        if name not in self.state:
            self.state[name] = self.backend.zeros(self.values.shape, self.values.dtype)
        return self.state[name]

    def chunks(self) -> Array | None:
        """Return the table (start, length, fresh) of all parameters that have a gradient; None if none has.

        Each parameter counts as fresh in the first table that it is part of.
        """
        active = []
        for i, parameter in enumerate(self.parameters):
            if parameter._grad is not None:
                if parameter._grad is not parameter._slot:
                    self.backend.copy(parameter._slot, parameter._grad)
                active.append((i, i in self._fresh))
        self._fresh.difference_update(i for i, _ in active)
        if not active:
            return None
        settled = [(i, False) for i, _ in active]  # the table of the steps to come, so that they upload nothing
        for table in (active, settled):
            if tuple(table) not in self._chunks:
                self._chunks[tuple(table)] = self.backend.from_numpy(np.array(list(self._rows(table)), np.int64))
        return self._chunks[tuple(active)]

    def _rows(self, active: Sequence[tuple[int, bool]]) -> Iterator[tuple[int, int, bool]]:
        """Cut the active parameters into chunks."""
        most = _KERNEL_CHUNK if self.backend.uses_kernels else _CPU_CHUNK
        for i, fresh in active:
            start, size = self._starts[i], self.parameters[i].numel()
            for offset in range(0, size, most):
                yield start + offset, min(most, size - offset), fresh

    def scalar(self, name: str, value: float) -> Array:
        """Return a (1,) array on the device that holds a setting; it is written only when the value changes."""
        known = self._scalars.get(name)
        if known is None or known[0] != value:
            array = self.backend.empty((1,), accumulator(self.values.dtype)) if known is None else known[1]
            self.backend.fill(array, value)
            self._scalars[name] = known = value, array
        return known[1]

    def take_state(self, other: FlatBuffers) -> None:
        """Carry state over from other buffers, for the parameters that both hold."""
        where = {parameter: i for i, parameter in enumerate(other.parameters)}
        for i, parameter in enumerate(self.parameters):
            j = where.get(parameter)
            if j is None or j in other._fresh:
                continue
            self._fresh.discard(i)
            for name, buffer in other.state.items():
                n, start, old_start = parameter.numel(), self._starts[i], other._starts[j]
                host = other.backend.to_numpy(buffer[old_start : old_start + n]).astype(self.values.dtype)
                self.backend.copy(self.state_buffer(name)[start : start + n], self.backend.from_numpy(host))


def _view(flat: Array, start: int, shape: tuple[int, ...], layout: Layout) -> Any:
    """View a run of a flat buffer as an array of a shape, in a memory layout."""
    order = memory_order(len(shape), layout)
    memory = flat[start : start + math.prod(shape)].reshape(tuple(shape[axis] for axis in order))
    return from_memory_view(memory, layout)
