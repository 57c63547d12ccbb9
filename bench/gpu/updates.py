"""Steps of optimizers and clipping, beside PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bench.gpu.rig import Rig
from bench.gpu.rows import Match, of_largest
from bench.shapes import Flat
from gpunet import Parameter, nn, optim
from gpunet.tensor import Tensor

LEARNING_RATE, EPS = 1e-3, 1e-8


def sgd(rig: Rig, case: Flat, p: str) -> Match:
    """Set up steps of SGD with momentum."""
    value, gradient = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    of_torch = functools.partial(rig.torch.optim.SGD, lr=LEARNING_RATE, momentum=0.9)
    ours = functools.partial(optim.SGD, lr=LEARNING_RATE, momentum=0.9)
    after = value.double() - LEARNING_RATE * gradient.double()
    return _optimizers(rig, value, gradient, ours, of_torch, after)


def adam(rig: Rig, case: Flat, p: str) -> Match:
    """Set up steps of Adam."""
    value, gradient = rig.normal(case.x, p), rig.normal(case.x, p, seed=1)
    of_torch = functools.partial(rig.torch.optim.Adam, lr=LEARNING_RATE, eps=EPS)
    ours = functools.partial(optim.Adam, lr=LEARNING_RATE, eps=EPS)
    wide = gradient.double()
    return _optimizers(rig, value, gradient, ours, of_torch, value.double() - LEARNING_RATE * wide / (wide.abs() + EPS))


def _optimizers(rig: Rig, value: Any, gradient: Any, ours: Any, of_torch: Any, after: Any) -> Match:
    """Set up one step of gpunet and of PyTorch's two fast forms; `after` is what the first step makes."""
    parameter = Parameter(Tensor(rig.array(value)))
    parameter.grad = Tensor(rig.array(gradient))
    calls = {"gpunet": _stepper(ours([parameter]), lambda: parameter.array)}
    for form in ("fused", "foreach"):
        peer = value.clone().requires_grad_()
        peer.grad = gradient
        calls[f"torch {form}"] = _stepper(of_torch([peer], **{form: True}), peer.detach)
    return Match(calls, lambda: of_largest(after))


def norm(rig: Rig, case: Flat, p: str) -> Match:
    """Set up the first half of clipping."""
    x, torch = rig.normal(case.x, p), rig.torch
    ours = [Tensor(rig.array(x))]
    calls = {
        "gpunet": lambda: nn.utils.get_total_norm(ours).array,
        "torch": lambda: torch.nn.utils.get_total_norm([x]),
    }
    return Match(calls, lambda: of_largest(torch.linalg.vector_norm(x.double())))


def clip(rig: Rig, case: Flat, p: str) -> Match:
    """Set up the second half of clipping, by a factor so near to 1 that many calls leave something to scale."""
    gradient, torch = rig.normal(case.x, p), rig.torch
    parameter, peer = Parameter(Tensor(rig.array(gradient))), gradient.clone().requires_grad_()
    parameter.grad = clipped = Tensor(rig.array(gradient.clone()))
    peer.grad = gradient.clone()
    total = gradient.new_tensor(1.001)
    ours = Tensor(rig.array(total))

    def clip_ours() -> Any:
        nn.utils.clip_grads_with_norm_(parameter, 1.0, ours)
        return clipped.array

    def clip_peer() -> Any:
        torch.nn.utils.clip_grads_with_norm_(peer, 1.0, total)
        return peer.grad

    calls = {"gpunet": clip_ours, "torch": clip_peer}
    return Match(calls, lambda: of_largest(gradient.double() / (1.001 + 1e-6)))


def _stepper(optimizer: Any, result: Callable[[], Any]) -> Callable[[], Any]:
    def step() -> Any:
        optimizer.step()
        return result()

    return step
