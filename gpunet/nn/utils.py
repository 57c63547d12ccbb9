"""Norms of gradients, and clipping: torch.nn.utils' names. Nothing waits for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import backend, ops
from gpunet.backend import CONTIGUOUS, Array, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.layout import memory_view
from gpunet.errors import absent
from gpunet.ops.chunks import count_chunks
from gpunet.tensor import Parameter, Tensor
from gpunet.tensor.slots import GradientSlots

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)

Run = tuple[Array, Array | None]  # a flat array, and the table of the chunks that count, None for all


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients of all parameters together, in place, so that their norm becomes at most max_norm.

        grad *= min(1, max_norm / (norm + 1e-6))

    Args:
        parameters: a tensor, or tensors; those without a gradient are passed over. All on one device.
        max_norm: largest norm allowed, >= 0.
        norm_type: order of the norm, > 0; float("inf") takes the largest absolute value.
        error_if_nonfinite: raise if the norm is infinite or NaN. This alone waits for the device.

    Returns:
        The norm before clipping, a tensor () on the device of the gradients, in float64 if one of them is that, else
        in float32; 0 on the CPU if there is no gradient.

    Raises:
        RuntimeError: the norm is not finite, where that is asked for; no gradient was changed.
        DeviceError: the gradients live on different devices.
        ValueError: max_norm or norm_type is out of range.

    Memory: one number per 4096 gradients. A launch for all parameters that an optimizer keeps together, and one for
    each gradient that it does not (such as all of them before the first step).
    Source: Pascanu et al. 2013.

    Example:
        >>> import gpunet
        >>> weight = Parameter(gpunet.tensor([3.0, 4.0]))
        >>> weight.relu().backward(gpunet.tensor([3.0, 4.0]))
        >>> clip_grad_norm_([weight], max_norm=1.0), weight.grad.numpy().round(3)
        (tensor(5.), array([0.6, 0.8], dtype=float32))
    """
    listed = _listed(parameters)
    total = _total_norm(_gradient_runs(listed), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale gradients in place by a norm that is known: the second half of `clip_grad_norm_`.

    Args:
        parameters: a tensor, or tensors; those without a gradient are passed over.
        max_norm: largest norm allowed, >= 0.
        total_norm: (), from `get_total_norm`.

    Raises:
        ValueError: max_norm is negative or NaN.
        TypeError: total_norm is no Tensor.

    Example:
        >>> import gpunet
        >>> weight = Parameter(gpunet.tensor([1.0]))
        >>> weight.relu().backward()
        >>> clip_grads_with_norm_(weight, 0.5, gpunet.tensor(1.0))
        >>> round(weight.grad.item(), 3)
        0.5
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be >= 0, got {max_norm}")
    if not isinstance(total_norm, Tensor):  # a caller without a type checker
        raise TypeError(f"clip_grads_with_norm_: expected total_norm as a Tensor, got {type(total_norm).__name__}")
    for x, chunks in _gradient_runs(_listed(parameters)):
        ops.clip_by_norm(x, _cast(total_norm.array, accumulator(x.dtype)), chunks, max_norm)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Move all gradients into [-clip_value, clip_value], in place; NaN stays.

    Args:
        parameters: a tensor, or tensors; those without a gradient are passed over.
        clip_value: largest absolute value allowed, >= 0.

    Raises:
        ValueError: clip_value is negative or NaN.

    Example:
        >>> import gpunet
        >>> weight = Parameter(gpunet.tensor([1.0, 1.0]))
        >>> weight.relu().backward(gpunet.tensor([-3.0, 0.5]))
        >>> clip_grad_value_(weight, 1.0)
        >>> weight.grad
        tensor([-1. ,  0.5])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must be >= 0, got {clip_value}")
    for x, chunks in _gradient_runs(_listed(parameters)):
        ops.clip_by_value(x, chunks, clip_value)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Return the norm of all elements of all tensors, as if they were one vector.

    Args:
        tensors: a tensor, or tensors, on one device.
        norm_type: order of the norm, > 0; float("inf") takes the largest absolute value.
        error_if_nonfinite: raise if the norm is infinite or NaN. This alone waits for the device.

    Returns:
        A tensor (), as from `clip_grad_norm_`.

    Raises:
        RuntimeError: the norm is not finite, where that is asked for.
        DeviceError: the tensors live on different devices.
        ValueError: norm_type is not > 0.

    Example:
        >>> import gpunet
        >>> get_total_norm([gpunet.tensor([3.0]), gpunet.tensor([[4.0]])])
        tensor(5.)
    """
    return _total_norm([_run(tensor.array) for tensor in _listed(tensors)], norm_type, error_if_nonfinite)


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradient_runs(tensors: list[Tensor]) -> list[Run]:
    """Return all gradients as flat arrays: those that lie in slots together, each of the others alone."""
    slots: dict[GradientSlots, set[int]] = {}
    runs: list[Run] = []
    for tensor in dict.fromkeys(tensors):
        if tensor._grad is None:
            continue
        if isinstance(tensor, Parameter) and tensor._home is not None and tensor._grad is tensor._slot:
            home, slot = tensor._home
            slots.setdefault(home, set()).add(slot)
        else:
            tensor._grad = backend.of(tensor._grad).dense(tensor._grad, layout_of(tensor._grad) or CONTIGUOUS)
            runs.append(_run(tensor._grad))
    return [*((home.array, home.table(members)) for home, members in slots.items()), *runs]


def _run(array: Array) -> Run:
    """See an array as one axis, in memory order."""
    layout = layout_of(array) or CONTIGUOUS
    return memory_view(backend.of(array).dense(array, layout), layout).reshape(-1), None


def _total_norm(runs: list[Run], norm_type: float, error_if_nonfinite: bool) -> Tensor:
    norm_type = float(norm_type)
    if not norm_type > 0:
        raise ValueError(f"norm_type must be > 0, got {norm_type}")
    if not runs:
        return Tensor(np.zeros((), np.float32))
    be = backend.of(*(x for x, _ in runs))
    dtype = max((accumulator(x.dtype) for x, _ in runs), key=lambda dtype: dtype.itemsize)
    counts = [count_chunks(be, x.size, chunks) for x, chunks in runs]
    partials, start = be.empty((sum(counts),), dtype), 0
    for (x, chunks), count in zip(runs, counts, strict=True):
        part = partials[start : start + count]
        if accumulator(x.dtype) == dtype:
            ops.norm_partials(part, x, chunks, norm_type)
        else:
            narrow = be.empty((count,), accumulator(x.dtype))
            ops.norm_partials(narrow, x, chunks, norm_type)
            be.copy(part, _cast(narrow, dtype))
        start += count
    total: Any = ops.norm_total(partials, norm_type)
    if error_if_nonfinite and not math.isfinite(value := be.to_numpy(total).item()):
        raise RuntimeError(
            f"the norm of order {norm_type} of the gradients is {value}, so they cannot be clipped.\n"
            "  hint: error_if_nonfinite=False scales them by it anyway"
        )
    return Tensor(total)


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    return array if array.dtype == dtype else ops.cast(array, dtype)
