"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet import ops
from gpunet.optim.flat import FlatBuffers
from gpunet.optim.optimizer import Optimizer

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: steps scaled by running averages of gradients and their squares; formula at `gpunet.ops.adam_step`.

    Args:
        params: parameters, or dicts with "params" and settings.
        lr: learning rate, >= 0.
        betas: what the averages of the gradient and of its square keep per step, in [0, 1).
        eps: added to the denominator, >= 0.
        weight_decay: added to the gradient, times the parameter, >= 0.
        amsgrad: divide by the largest average of squares so far.
        maximize: go up instead of down.
        decoupled_weight_decay: shrink the parameter itself instead, as AdamW does.

    Raises:
        ValueError: a setting is out of range, or there are no parameters.

    Memory: two values per parameter (three with amsgrad), in float32 for 16-bit parameters; parameters and gradients
    move to flat buffers at the first step.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.Parameter(gpunet.tensor([1.0]))
        >>> optimizer = Adam([weight], lr=0.25)
        >>> weight.relu().backward()
        >>> optimizer.step()
        >>> round(weight.item(), 6)
        0.75
    """

    _state_names, _count_steps = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        flags = {"maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**settings, **flags})

    def _check(self, settings: dict[str, Any]) -> None:
        self._require_non_negative(settings, "lr", "eps", "weight_decay")
        betas = settings["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), got {betas}")

    def _needed_state(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("step", *self._state_names[: 3 if settings["amsgrad"] else 2])

    def _update(self, flat: FlatBuffers, chunks: Any, group: dict[str, Any]) -> None:
        exp_avg, exp_avg_sq = (flat.state_buffer(name) for name in self._state_names[:2])
        max_exp_avg_sq = flat.state_buffer("max_exp_avg_sq") if group["amsgrad"] else None
        beta1, beta2 = group["betas"]
        settings = {key: group[key] for key in ("eps", "weight_decay", "decoupled_weight_decay", "maximize")}
        ops.adam_step(
            flat.values,
            flat.gradients,
            exp_avg,
            exp_avg_sq,
            max_exp_avg_sq,
            flat.steps,
            chunks,
            flat.scalar("lr", group["lr"]),
            beta1,
            beta2,
            **settings,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: each step first shrinks the parameter by lr * weight_decay.

    Args:
        params, lr, betas, eps, amsgrad, maximize: as for Adam.
        weight_decay: share of the parameter that is taken away per step, times lr, >= 0.

    Raises:
        ValueError: a setting is out of range, or there are no parameters.

    Source: Loshchilov and Hutter 2019.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.Parameter(gpunet.tensor([1.0]))
        >>> optimizer = AdamW([weight], lr=0.25, weight_decay=0.4)
        >>> weight.relu().backward()
        >>> optimizer.step()
        >>> round(weight.item(), 6)
        0.65
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def _check(self, settings: dict[str, Any]) -> None:
        super()._check(settings)
        if not settings["decoupled_weight_decay"]:
            raise ValueError("AdamW: decoupled_weight_decay must be True\n  hint: Adam without it is optim.Adam")
