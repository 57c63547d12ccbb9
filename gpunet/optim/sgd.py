"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet import ops
from gpunet.optim.flat import FlatBuffers
from gpunet.optim.optimizer import Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; the formula stands at `gpunet.ops.sgd_step`.

    Args:
        params: parameters, or dicts with "params" and settings.
        lr: learning rate, >= 0.
        momentum: share of the last step that is kept, >= 0.
        dampening: share of the gradient that momentum leaves out.
        weight_decay: added to the gradient, times the parameter, >= 0.
        nesterov: look ahead; needs momentum and no dampening.
        maximize: go up instead of down.

    Raises:
        ValueError: a setting is out of range, or there are no parameters.

    Memory: one value per parameter for momentum, in float32 for 16-bit parameters; parameters and gradients move to
    flat buffers at the first step.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.Parameter(gpunet.tensor([1.0]))
        >>> optimizer = SGD([weight], lr=0.5)
        >>> weight.relu().backward()
        >>> optimizer.step()
        >>> weight.item()
        0.5
    """

    _state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "nesterov": nesterov, "maximize": maximize})

    def _check(self, settings: dict[str, Any]) -> None:
        self._require_non_negative(settings, "lr", "momentum", "weight_decay")
        momentum, dampening = settings["momentum"], settings["dampening"]
        if settings["nesterov"] and (momentum <= 0 or dampening != 0):
            raise ValueError(f"SGD: nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}")

    def _update(self, flat: FlatBuffers, chunks: Any, group: dict[str, Any]) -> None:
        momentum_buffer = flat.state_buffer("momentum_buffer") if group["momentum"] else None
        settings = {key: group[key] for key in ("momentum", "dampening", "weight_decay", "nesterov", "maximize")}
        lr = flat.scalar("lr", group["lr"])
        ops.sgd_step(flat.values, flat.gradients, momentum_buffer, flat.steps, chunks, lr, **settings)
