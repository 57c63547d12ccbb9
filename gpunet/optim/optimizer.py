"""What every optimizer shares: parameter groups, flat buffers, zero_grad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet.optim.flat import FlatBuffers
from gpunet.tensor import Parameter, Tensor

__all__ = ["Optimizer"]


class Optimizer:
    """Base of all optimizers; subclasses define `_check` for settings and `_update` for the buffers of one kind.

    Attributes:
        param_groups: one dict per group: "params" and the settings, which may be changed between steps.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(f"{type(self).__name__}: expected an iterable of parameters, got one Tensor")
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: there are no parameters\n  hint: pass model.parameters()")
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._buffers: list[list[FlatBuffers]] = []
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own: {"params": ..., "lr": ...}."""
        parameters = list(param_group["params"])
        known = {p for group in self.param_groups for p in group["params"]}
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"{type(self).__name__}: expected Parameters, got {type(parameter).__name__}")
            if parameter in known:
                raise ValueError(f"{type(self).__name__}: a parameter of shape {parameter.shape} is there twice")
            known.add(parameter)
        unknown = param_group.keys() - self.defaults.keys() - {"params"}
        if unknown:
            raise ValueError(f"{type(self).__name__}: unknown settings {sorted(unknown)}")
        group = {**self.defaults, **param_group, "params": parameters}
        self._check(group)
        self.param_groups.append(group)
        self._buffers.append([])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with set_to_none=False they become zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none or parameter.grad is None:
                    parameter.grad = None
                else:
                    parameter.grad.zero_()

    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group, buffers in zip(self.param_groups, self._buffers, strict=True):
            if not buffers or not all(flat.current() for flat in buffers):
                buffers[:] = _flatten(group["params"], buffers)
            for flat in buffers:
                chunks = flat.chunks()
                if chunks is not None:
                    self._update(flat, chunks, group)
                    for parameter in flat.parameters:
                        parameter._storage.version += 1

    def _check(self, settings: dict[str, Any]) -> None:
        """Raise ValueError if a setting of a group is out of range."""
        raise NotImplementedError

    def _require_non_negative(self, settings: dict[str, Any], *names: str) -> None:
        for name in names:
            if not settings[name] >= 0:
                raise ValueError(f"{type(self).__name__}: {name} must be >= 0, got {settings[name]}")

    def _update(self, flat: FlatBuffers, chunks: Any, group: dict[str, Any]) -> None:
        """Change the values in the chunks of one flat buffer."""
        raise NotImplementedError


def _flatten(parameters: list[Parameter], old: list[FlatBuffers]) -> list[FlatBuffers]:
    """Gather parameters by device and dtype, and carry state over from the buffers they had."""
    kinds: dict[Any, list[Parameter]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    buffers = [FlatBuffers(members) for members in kinds.values()]
    for flat in buffers:
        for before in old:
            flat.write_state(before.read_state())
    return buffers
