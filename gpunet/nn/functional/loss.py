"""Loss functions: torch.nn.functional's names over `gpunet.ops`."""

from __future__ import annotations

from gpunet import ops
from gpunet.ops.loss import Reduction
from gpunet.tensor import Tensor, apply

__all__ = ["cross_entropy"]


def cross_entropy(input: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Cross entropy between logits (N, C) and class indices (N,); see `gpunet.ops.cross_entropy`.

    Example:
        >>> import gpunet
        >>> round(cross_entropy(gpunet.tensor([[0.0, 0.0]]), gpunet.tensor([1])).item(), 4)
        0.6931
    """
    return apply(ops.cross_entropy, input, target, reduction)
