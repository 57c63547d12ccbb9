"""Matrix products of tensors; on a GPU, float32 is multiplied as `gpunet.set_float32_matmul_precision` says."""

from __future__ import annotations

from gpunet.tensor.tensor import Tensor

__all__ = ["bmm", "matmul", "mm"]


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product of vectors, matrices, or batches that broadcast: input @ other; see `gpunet.ops.matmul`.

    Example:
        >>> import gpunet
        >>> matmul(gpunet.tensor([[1.0, 2.0], [3.0, 4.0]]), gpunet.tensor([1.0, 10.0]))
        tensor([21., 43.])
    """
    return input.matmul(other)


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices, (M, K) and (K, N).

    Raises:
        ShapeError: one of them is no matrix, or they do not fit.

    Example:
        >>> import gpunet
        >>> mm(gpunet.tensor([[1.0, 2.0]]), gpunet.tensor([[3.0], [4.0]]))
        tensor([[11.]])
    """
    return input.mm(mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of the matrices of two batches, (B, M, K) and (B, K, N).

    Raises:
        ShapeError: one of them is no batch, one is longer, or the matrices do not fit.

    Example:
        >>> import gpunet
        >>> bmm(gpunet.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), gpunet.tensor([[[1.0], [1.0]], [[1.0], [0.0]]]))
        tensor([[[3.]],
        <BLANKLINE>
                [[3.]]])
    """
    return input.bmm(mat2)
