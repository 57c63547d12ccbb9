"""Flat buffers: the parameters, gradients and state of one device and dtype, each in one piece of memory.

An optimizer step is then one launch, however many parameters there are. Parameters become views of the flat
buffer and stay the same objects; backward writes gradients straight into their slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import CONTIGUOUS, Array, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.tensor import Parameter
from gpunet.tensor.slots import GradientSlots, view_run

__all__ = ["FlatBuffers", "ParameterState"]


ParameterState = tuple[int, dict[str, npt.NDArray[Any]]]  # how often it was updated; arrays of its shape by name


class FlatBuffers:
    """The parameters of one group that share a device and dtype.

    Attributes:
        values, gradients: (size,) arrays that the parameters and their gradients are views of.
        state: further (size,) arrays by name, made of zeros on first use; float32 for 16-bit parameters.
        steps: (counters,) int64, how often each chunk was updated; all chunks of a parameter agree.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = list(parameters)
        self.backend = backend.of(parameters[0].array)
        dtype = parameters[0].dtype
        self._slots = GradientSlots(self.backend, [p.numel() for p in parameters], dtype)
        self.gradients = self._slots.array
        self.values = self.backend.zeros(self.gradients.shape, dtype)
        self.state: dict[str, Array] = {}
        self.steps = self.backend.zeros((self._slots.chunk_count,), np.int64)
        self._scalars: dict[str, tuple[float, Array]] = {}
        self._views: list[Array] = []
        for i, parameter in enumerate(self.parameters):
            layout = layout_of(parameter.array) or CONTIGUOUS
            start = self._slots.starts[i]
            view, slot = (view_run(flat, start, parameter.shape, layout) for flat in (self.values, self.gradients))
            self.backend.copy(view, parameter.array)
            parameter._move(view, slot, (self._slots, i))
            self._views.append(view)

    def current(self) -> bool:
        """Say whether the parameters still live here: `.to(device)` moves them away."""
        return all(p._held is view for p, view in zip(self.parameters, self._views, strict=True))

    def state_buffer(self, name: str) -> Array:
        """Return the state array of a name."""
        if name not in self.state:
            self.state[name] = self.backend.zeros(self.values.shape, accumulator(self.values.dtype))
        return self.state[name]

    def chunks(self) -> Array | None:
        """Return the table (start, length, counter) of all parameters that have a gradient; None if none has."""
        active = []
        for i, parameter in enumerate(self.parameters):
            if parameter._grad is not None:
                if parameter._grad is not parameter._slot:
                    self.backend.copy(parameter._slot, parameter._grad)
                active.append(i)
        return self._slots.table(active) if active else None

    def scalar(self, name: str, value: float) -> Array:
        """Return a (1,) array on the device that holds a setting; it is written only when the value changes."""
        known = self._scalars.get(name)
        if known is None or known[0] != value:
            array = self.backend.empty((1,), accumulator(self.values.dtype)) if known is None else known[1]
            self.backend.fill(array, value)
            self._scalars[name] = known = value, array
        return known[1]

    def read_state(self) -> dict[Parameter, ParameterState]:
        """Return the state of every parameter that was updated, copied to the host."""
        steps, states = self.backend.to_numpy(self.steps), {}
        for i, parameter in enumerate(self.parameters):
            counters = [counter for _, _, counter in self._slots.rows[i]]
            if counters and (step := int(steps[counters[0]])):
                values = {name: self.backend.to_numpy(self._state_view(name, i)) for name in self.state}
                states[parameter] = step, {name: value.copy(order="K") for name, value in values.items()}
        return states

    def write_state(self, states: Mapping[Parameter, ParameterState]) -> None:
        """Replace the state; parameters that are not in `states` start anew."""
        steps = np.zeros(self.steps.shape, np.int64)
        for buffer in self.state.values():
            self.backend.fill(buffer, 0)
        for i, parameter in enumerate(self.parameters):
            step, values = states.get(parameter, (0, {}))
            steps[[counter for _, _, counter in self._slots.rows[i]]] = step
            for name, value in values.items():
                target = self._state_view(name, i)
                self.backend.copy(target, self.backend.from_numpy(value.astype(target.dtype)))
        self.backend.copy(self.steps, self.backend.from_numpy(steps))

    def _state_view(self, name: str, i: int) -> Array:
        """View one parameter's part of a state array, with its shape and layout."""
        layout = layout_of(self._views[i]) or CONTIGUOUS
        return view_run(self.state_buffer(name), self._slots.starts[i], self.parameters[i].shape, layout)
