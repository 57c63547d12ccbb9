"""Loading of what `Module.state_dict` returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.errors import ShapeError
from gpunet.tensor import Tensor, no_grad

__all__ = ["IncompatibleKeys", "load"]


class IncompatibleKeys(NamedTuple):
    """Names that a module has and a state dict has not, and the other way round."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(own: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Copy values to the tensors of the same names; everything is checked before the first is written."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_state_dict: expected a dict of Tensors or arrays, got {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not hasattr(value, "shape"):
            raise TypeError(f"load_state_dict: {name!r} is no Tensor or array, got {type(value).__name__}")
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    if strict and (missing or unexpected):
        raise RuntimeError(
            f"load_state_dict: the names differ.\n  missing: {missing}\n  unexpected: {unexpected}\n"
            "  hint: strict=False loads the others"
        )
    wrong = [
        f"{name}: expected {own[name].shape}, got {tuple(state_dict[name].shape)}"
        for name in own.keys() & state_dict.keys()
        if own[name].shape != tuple(state_dict[name].shape)
    ]
    if wrong:
        raise ShapeError("load_state_dict: shapes differ.\n  " + "\n  ".join(sorted(wrong)))
    hosts = {name: _host(name, state_dict[name], tensor.dtype) for name, tensor in own.items() if name in state_dict}
    with no_grad():
        for name, host in hosts.items():
            own[name].copy_(Tensor(backend.of(own[name].array).from_numpy(host)))
    return IncompatibleKeys(missing, unexpected)


def _host(name: str, value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a saved Tensor, array or CPU tensor of another library as a NumPy array of a dtype."""
    if isinstance(value, Tensor):
        value = backend.of(value.array).to_numpy(value.array)
    try:
        return np.asarray(value).astype(dtype, order="K", copy=False)
    except (TypeError, ValueError, RuntimeError) as error:  # whatever the other library says
        raise TypeError(
            f"load_state_dict: {name!r} does not become a NumPy array: {error}\n"
            "  hint: value.detach().cpu(), and .float() for PyTorch's bfloat16"
        ) from None
