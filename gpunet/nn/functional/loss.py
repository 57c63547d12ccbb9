"""Loss functions: torch.nn.functional's names over `gpunet.ops`."""

from __future__ import annotations

from gpunet import ops
from gpunet.ops.loss import Reduction
from gpunet.tensor import Tensor, apply

__all__ = ["binary_cross_entropy_with_logits", "cross_entropy", "l1_loss", "mse_loss"]


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits (N, C, ...) and class indices (N, ...) or class probabilities (N, C, ...).

    The formula stands at `gpunet.ops.cross_entropy`. The target must not require a gradient.

    Example:
        >>> import gpunet
        >>> round(cross_entropy(gpunet.tensor([[0.0, 0.0]]), gpunet.tensor([1])).item(), 4)
        0.6931
    """
    return apply(ops.cross_entropy, input, target, weight, ignore_index, reduction, label_smoothing)


def l1_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Absolute error between tensors of one shape; see `gpunet.ops.l1_loss`.

    Example:
        >>> import gpunet
        >>> l1_loss(gpunet.tensor([1.0, 5.0]), gpunet.tensor([2.0, 2.0])).item()
        2.0
    """
    return apply(ops.l1_loss, input, target, reduction)


def mse_loss(input: Tensor, target: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Squared error between tensors of one shape; see `gpunet.ops.mse_loss`.

    Example:
        >>> import gpunet
        >>> mse_loss(gpunet.tensor([1.0, 5.0]), gpunet.tensor([2.0, 2.0])).item()
        5.0
    """
    return apply(ops.mse_loss, input, target, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    pos_weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross entropy between logits and probabilities of yes; see `gpunet.ops.binary_cross_entropy_with_logits`.

    The target must not require a gradient.

    Example:
        >>> import gpunet
        >>> round(binary_cross_entropy_with_logits(gpunet.tensor([0.0]), gpunet.tensor([1.0])).item(), 4)
        0.6931
    """
    return apply(ops.binary_cross_entropy_with_logits, input, target, weight, pos_weight, reduction)
