"""What every optimizer shares: parameter groups, flat buffers, zero_grad, state dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from gpunet.optim.flat import FlatBuffers, ParameterState
from gpunet.optim.state_dict import checked_groups, checked_states, pack
from gpunet.tensor import Parameter, Tensor

__all__ = ["Optimizer"]


class Optimizer:
    """Base of all optimizers; subclasses define `_check` for settings and `_update` for the buffers of one kind.

    Attributes:
        param_groups: one dict per group: "params" and the settings, which may be changed between steps.
    """

    _state_names: ClassVar[tuple[str, ...]] = ()  # of all arrays that a parameter may have
    _count_steps: ClassVar[bool] = False  # whether its state has a step count, too

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
        """Add parameters (or one) with settings of their own: {"params": ..., "lr": ...}."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            got = f"one with {[*param_group]}" if isinstance(param_group, dict) else f"a {type(param_group).__name__}"
            raise TypeError(f"{type(self).__name__}: expected a dict with 'params' for each group, got {got}")
        params = param_group["params"]
        parameters = [params] if isinstance(params, Tensor) else list(params)
        known = {p for group in self.param_groups for p in group["params"]}
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                hint = "gpunet.nn.Parameter(tensor)" if isinstance(parameter, Tensor) else "pass model.parameters()"
                got = type(parameter).__name__
                raise TypeError(f"{type(self).__name__}: expected Parameters, got {got}\n  hint: {hint}")
            if parameter in known:
                raise ValueError(f"{type(self).__name__}: a parameter of shape {parameter.shape} is there twice")
            known.add(parameter)
        unknown = param_group.keys() - self.defaults.keys() - {"params"}
        if unknown:
            known_settings = f"expected some of {sorted(self.defaults)}"
            raise ValueError(f"{type(self).__name__}: unknown settings {sorted(unknown)}\n  {known_settings}")
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
        self._flatten()
        for group, buffers in zip(self.param_groups, self._buffers, strict=True):
            for flat in buffers:
                chunks = flat.chunks()
                if chunks is not None:
                    self._update(flat, chunks, group)
                    for parameter in flat.parameters:
                        if parameter._grad is not None:
                            parameter._storage.version += 1

    def state_dict(self) -> dict[str, Any]:
        """Return settings and state in PyTorch's structure: a snapshot on the CPU, which later steps leave alone.

        Returns:
            {"state": {number: {"step": ..., "exp_avg": ...}}, "param_groups": [{"lr": ..., "params": [number]}]}.
            Parameters are numbered in the order of the groups; one that was never updated has no state. The
            state is Tensors of the parameter's shape, in float32 for 16-bit parameters.

        Example:
            >>> import gpunet
            >>> optimizer = gpunet.optim.Adam([gpunet.nn.Parameter(gpunet.tensor([1.0]))])
            >>> optimizer.state_dict()["param_groups"][0]["betas"]
            (0.9, 0.999)
        """
        return pack(self.param_groups, self._read_states(), self._count_steps)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take settings and state from what `state_dict` returned, here or in PyTorch; checked before the first write.

        Args:
            state_dict: of the same kind of optimizer, with groups of the same sizes. Arrays may be Tensors, NumPy
                arrays, or CPU tensors of PyTorch. Parameters without state start anew; settings that are
                missing take their default, and PyTorch's `foreach`, `fused` and the like are left out.

        Raises:
            ValueError: it is of another kind, its groups differ, or a setting is out of range.
            ShapeError: a shape differs from that of the parameter.
        """
        name = type(self).__name__
        settings = checked_groups(name, self.param_groups, self.defaults, state_dict)
        for group in settings:
            self._check(group)
        known = {*self._state_names, *(["step"] if self._count_steps else [])}
        needed = [self._needed_state(group) for group in settings]
        states = checked_states(name, self.param_groups, state_dict, known, needed)
        self._flatten()
        for group, buffers, new in zip(self.param_groups, self._buffers, settings, strict=True):
            group.update(new)
            for flat in buffers:
                flat.write_state(states)

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            settings = sorted((name, value) for name, value in group.items() if name != "params")
            lines += [f"Parameter Group {i}", *(f"    {name}: {value}" for name, value in settings)]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        """Return what `copy` and `pickle` take: the state instead of the buffers, where other parameters live."""
        return {**self.__dict__, "_buffers": self._read_states()}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        states, self._buffers = values["_buffers"], [[] for _ in self.param_groups]
        if states:
            self._flatten()
            for buffers in self._buffers:
                for flat in buffers:
                    flat.write_state(states)

    def _read_states(self) -> dict[Parameter, ParameterState]:
        """Return the state of every parameter that was updated, copied to the host."""
        states: dict[Parameter, ParameterState] = {}
        for buffers in self._buffers:
            for flat in buffers:
                states.update(flat.read_state())
        return states

    def _flatten(self) -> None:
        """Move the parameters of every group to flat buffers, unless they are there."""
        for group, buffers in zip(self.param_groups, self._buffers, strict=True):
            gathered = {parameter for flat in buffers for parameter in flat.parameters}
            if gathered != {*group["params"]} or not all(flat.current() for flat in buffers):
                buffers[:] = _gather(group["params"], buffers)

    def _needed_state(self, settings: dict[str, Any]) -> tuple[str, ...]:
        """Return what a parameter's saved state must have, if it has any."""
        return ()

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


def _gather(parameters: list[Parameter], old: list[FlatBuffers]) -> list[FlatBuffers]:
    """Gather parameters by device and dtype, and carry state over from the buffers they had."""
    kinds: dict[Any, list[Parameter]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    states = {parameter: state for flat in old for parameter, state in flat.read_state().items()}
    buffers = [FlatBuffers(members) for members in kinds.values()]
    for flat in buffers if old else ():
        flat.write_state(states)
    return buffers
