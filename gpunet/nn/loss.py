"""Loss layers."""

from __future__ import annotations

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.ops.loss import Reduction
from gpunet.tensor import Tensor

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss"]


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


class BCEWithLogitsLoss(Module):
    """Binary cross entropy; the formula stands at `gpunet.ops.binary_cross_entropy_with_logits`.

    Args:
        weight: of each loss, broadcast to the logits.
        reduction: "mean", "sum" or "none".
        pos_weight: weight of yes against no, broadcast to the logits.

    Both weights are buffers: they move with the module.

    Example:
        >>> import gpunet
        >>> round(BCEWithLogitsLoss()(gpunet.tensor([0.0]), gpunet.tensor([1.0])).item(), 4)
        0.6931
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, *, reduction: Reduction = "mean", pos_weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction: Reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits with probabilities of yes."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class CrossEntropyLoss(Module):
    """Cross entropy of classes; the formula stands at `gpunet.ops.cross_entropy`.

    Args:
        weight: (C,) of the classes; a buffer, which moves with the module.
        ignore_index: class index of rows that cost nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: in [0, 1], how much of each row is shared evenly by all classes.

    Example:
        >>> import gpunet
        >>> loss = CrossEntropyLoss()(gpunet.tensor([[0.0, 0.0]]), gpunet.tensor([1]))
        >>> round(loss.item(), 4)
        0.6931
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction: Reduction = reduction
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits (N, C, ...) with class indices (N, ...) or class probabilities (N, C, ...)."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
