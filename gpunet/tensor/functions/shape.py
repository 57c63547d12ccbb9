"""Shape functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.tensor.tensor import Tensor

__all__ = ["flatten", "reshape"]


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the same elements in another shape; see `gpunet.ops.reshape`.

    Example:
        >>> import gpunet
        >>> reshape(gpunet.tensor([1.0, 2.0, 3.0, 4.0]), (2, -1)).shape
        (2, 2)
    """
    return input.reshape(tuple(shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge axes into one; see `gpunet.ops.flatten`.

    Example:
        >>> import gpunet
        >>> flatten(gpunet.tensor([[[1.0], [2.0]]]), 1).shape
        (1, 2)
    """
    return input.flatten(start_dim, end_dim)
