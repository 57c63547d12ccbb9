"""Normalisation functions: torch.nn.functional's names over `gpunet.ops`; outputs have the input's memory layout."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor import Tensor, apply

__all__ = ["batch_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch and all pixels; see `gpunet.ops.batch_norm`.

    Example:
        >>> import gpunet
        >>> batch_norm(gpunet.tensor([[1.0], [3.0]]), None, None, training=True).shape
        (2, 1)
    """
    args = input, running_mean, running_var, weight, bias, None
    return apply(ops.batch_norm, *args, training, momentum, eps)
