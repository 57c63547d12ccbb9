"""Shape functions on tensors."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import ops
from gpunet.errors import ShapeError
from gpunet.tensor.operators import Dims
from gpunet.tensor.record import apply
from gpunet.tensor.tensor import Tensor

__all__ = ["cat", "flatten", "permute", "reshape", "squeeze", "stack", "transpose", "unsqueeze"]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Put tensors one after the other, along an axis that they have; see `gpunet.ops.cat`.

    Example:
        >>> import gpunet
        >>> cat([gpunet.tensor([[1.0, 2.0]]), gpunet.tensor([[3.0, 4.0]])])
        tensor([[1., 2.],
                [3., 4.]])
    """
    return apply(ops.cat, *tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Put tensors of one shape next to each other, along a new axis.

    Raises:
        ShapeError: there is no tensor, or the shapes differ.

    Example:
        >>> import gpunet
        >>> stack([gpunet.tensor([1.0, 2.0]), gpunet.tensor([3.0, 4.0])], 1)
        tensor([[1., 3.],
                [2., 4.]])
    """
    shapes = [tensor.shape if isinstance(tensor, Tensor) else type(tensor).__name__ for tensor in tensors]
    if len({*shapes}) != 1 or not isinstance(shapes[0], tuple):
        raise ShapeError(f"stack: expected Tensors of one shape, got {shapes}")
    return cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


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


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Insert an axis of size 1 before axis `dim`; negative ones count from the end of the result.

    Example:
        >>> import gpunet
        >>> unsqueeze(gpunet.tensor([1.0, 2.0]), -1).shape
        (2, 1)
    """
    return input.unsqueeze(dim)


def squeeze(input: Tensor, dim: Dims = None) -> Tensor:
    """Drop the axes of size 1: all of them, or those in `dim`, where other sizes stay.

    Example:
        >>> import gpunet
        >>> squeeze(gpunet.tensor([[[1.0], [2.0]]]), 0).shape
        (2, 1)
    """
    return input.squeeze(dim)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """View the axes in another order; see `gpunet.ops.permute`.

    Example:
        >>> import gpunet
        >>> permute(gpunet.tensor([[1.0, 2.0, 3.0]]), (1, 0)).shape
        (3, 1)
    """
    return input.permute(dims)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """View two axes in each other's place; negative ones count from the end.

    Example:
        >>> import gpunet
        >>> transpose(gpunet.tensor([[1.0, 2.0, 3.0]]), 0, 1).shape
        (3, 1)
    """
    return input.transpose(dim0, dim1)
