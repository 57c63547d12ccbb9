"""An optimizer's state in PyTorch's structure, and the checks before it is loaded.

{"state": {0: {"step": ..., "exp_avg": ...}, ...}, "param_groups": [{"lr": ..., "params": [0, ...]}, ...]}

Parameters are numbered through, in the order of the groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend.dtypes import is_float
from gpunet.errors import DTypeError, ShapeError
from gpunet.optim.flat import ParameterState
from gpunet.tensor import Parameter, Tensor

__all__ = ["checked_groups", "checked_states", "pack"]

Group = dict[str, Any]
# How PyTorch computes, and what it calls the parameters: neither is a setting here.
_PYTORCH_ONLY = {"foreach", "capturable", "differentiable", "fused", "param_names"}


def pack(groups: list[Group], states: Mapping[Parameter, ParameterState], count_steps: bool) -> dict[str, Any]:
    """Return the state dict of groups of parameters."""
    number = {parameter: i for i, parameter in enumerate(_parameters(groups))}
    state = {}
    for parameter in sorted(states, key=number.__getitem__):
        step, values = states[parameter]
        counted = {"step": Tensor(np.asarray(step, np.float32))} if count_steps else {}
        state[number[parameter]] = {**counted, **{name: Tensor(value) for name, value in values.items()}}
    saved = [{**group, "params": [number[parameter] for parameter in group["params"]]} for group in groups]
    return {"state": state, "param_groups": saved}


def checked_groups(name: str, groups: list[Group], defaults: Group, state_dict: Mapping[str, Any]) -> list[Group]:
    """Return the saved settings of each group; what is missing has its default."""
    if not _is_state_dict(state_dict):
        raise ValueError(f"{name}.load_state_dict: expected a dict with 'state' and 'param_groups', from state_dict()")
    saved = state_dict["param_groups"]
    sizes, expected = ([len(group["params"]) for group in several] for several in (saved, groups))
    if sizes != expected:
        raise ValueError(
            f"{name}.load_state_dict: the groups have other parameters.\n"
            f"  expected groups of {expected} parameters, got {sizes}"
        )
    result = []
    for group in saved:
        unknown = group.keys() - defaults.keys() - _PYTORCH_ONLY - {"params"}
        if unknown:
            raise ValueError(
                f"{name}.load_state_dict: unknown settings {sorted(unknown)}.\n"
                f"  expected {sorted(defaults)}\n"
                f"  hint: load what the same kind of optimizer saved"
            )
        settings = dict(defaults)
        for key in defaults.keys() & group.keys():
            try:
                settings[key] = _like(defaults[key], group[key])
            except (TypeError, ValueError):
                raise ValueError(f"{name}.load_state_dict: {key} cannot be {group[key]!r}") from None
        result.append(settings)
    return result


def checked_states(
    name: str,
    groups: list[Group],
    state_dict: Mapping[str, Any],
    known: Iterable[str],
    needed: Iterable[Iterable[str]],
) -> dict[Parameter, ParameterState]:
    """Return the saved state by parameter, as host arrays.

    Args:
        name: of the optimizer, for messages.
        groups: its groups.
        state_dict: what was saved; its groups fit.
        known: names of all values that a parameter's state may have.
        needed: for each group, names of those that it must have.
    """
    saved, owner, required = state_dict["state"], {}, {}
    for group, saved_group, names in zip(groups, state_dict["param_groups"], needed, strict=True):
        for parameter, number in zip(group["params"], saved_group["params"], strict=True):
            owner[number], required[number] = parameter, set(names)
    if unknown := saved.keys() - owner.keys():
        raise ValueError(f"{name}.load_state_dict: state of parameters that no group has: {sorted(unknown, key=str)}")
    states, wrong = {}, []
    for number, entry in saved.items():
        values = {key: _host(value) for key, value in entry.items() if value is not None}
        if values.keys() - known or required[number] - values.keys():
            raise ValueError(
                f"{name}.load_state_dict: the state of parameter {number} is of another kind.\n"
                f"  expected {sorted(required[number])}, got {sorted(values)}"
            )
        step = _whole(name, number, values.pop("step", np.asarray(1)))
        shape = owner[number].shape
        wrong += [f"{number}.{k}: expected {shape}, got {v.shape}" for k, v in values.items() if v.shape != shape]
        for key, value in values.items():
            if not (is_float(value.dtype) or value.dtype.kind in "iu"):
                raise DTypeError(f"{name}.load_state_dict: {number}.{key} has dtype {value.dtype}\n  expected numbers")
        if values:
            states[owner[number]] = step, values
    if wrong:
        raise ShapeError(f"{name}.load_state_dict: shapes differ.\n  " + "\n  ".join(wrong))
    return states


def _is_state_dict(value: Any) -> bool:
    """Say whether a value has the structure that stands at the top of this file."""
    if not isinstance(value, Mapping) or not {"state", "param_groups"} <= value.keys():
        return False
    state, groups = value["state"], value["param_groups"]
    if not isinstance(state, Mapping) or not isinstance(groups, Sequence):
        return False
    return all(isinstance(entry, Mapping) for entry in (*state.values(), *groups)) and all(
        "params" in g for g in groups
    )


def _parameters(groups: list[Group]) -> list[Parameter]:
    return [parameter for group in groups for parameter in group["params"]]


def _like(default: Any, value: Any) -> Any:
    """Convert a setting to the type of its default; PyTorch may hold the learning rate in a tensor."""
    if isinstance(default, tuple):
        return tuple(map(float, value))
    return type(default)(value)


def _host(value: Any) -> npt.NDArray[Any]:
    """Return a Tensor, an array, a number or a CPU tensor of another library as a NumPy array."""
    array = value.array if isinstance(value, Tensor) else value
    try:
        return backend.of(array).to_numpy(array)
    except DTypeError:
        return np.asarray(array)


def _whole(name: str, number: Any, value: npt.NDArray[Any]) -> int:
    if value.size != 1 or value.dtype.kind not in "fiu" or not 0 <= value.item() < 2**62 or value.item() % 1:
        raise ValueError(f"{name}.load_state_dict: the step of parameter {number} must be a count, got {value}")
    return int(value.item())
