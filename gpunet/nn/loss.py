"""Loss layers."""

from __future__ import annotations

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.ops.loss import Reduction
from gpunet.tensor import Tensor

__all__ = ["CrossEntropyLoss", "L1Loss", "MSELoss"]


class CrossEntropyLoss(Module):
    """Cross entropy between logits and class indices; the formula stands at `gpunet.ops.cross_entropy`.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import gpunet
        >>> loss = CrossEntropyLoss()(gpunet.tensor([[0.0, 0.0]]), gpunet.tensor([1]))
        >>> round(loss.item(), 4)
        0.6931
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits (N, C) with class indices (N,)."""
        return F.cross_entropy(input, target, reduction=self.reduction)


class L1Loss(Module):
    """Absolute error; the formula stands at `gpunet.ops.l1_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import gpunet
        >>> L1Loss()(gpunet.tensor([1.0, 5.0]), gpunet.tensor([2.0, 2.0])).item()
        2.0
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare tensors of one shape."""
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(Module):
    """Squared error; the formula stands at `gpunet.ops.mse_loss`.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> import gpunet
        >>> MSELoss()(gpunet.tensor([1.0, 5.0]), gpunet.tensor([2.0, 2.0])).item()
        5.0
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare tensors of one shape."""
        return F.mse_loss(input, target, reduction=self.reduction)
