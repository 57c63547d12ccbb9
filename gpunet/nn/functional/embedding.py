"""Embedding functions: torch.nn.functional's names over `gpunet.ops`."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor import Tensor, apply

__all__ = ["embedding", "refuse_embedding_options"]


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table by their indices; see `gpunet.ops.embedding`.

    Raises:
        NotImplementedError: max_norm, scale_grad_by_freq or sparse is asked for.

    Example:
        >>> import gpunet
        >>> embedding(gpunet.tensor([1, 0]), gpunet.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    refuse_embedding_options("embedding", max_norm, scale_grad_by_freq, sparse)
    return apply(ops.embedding, weight, input, padding_idx)


def refuse_embedding_options(name: str, max_norm: float | None, scale_grad_by_freq: bool, sparse: bool) -> None:
    """Raise for what PyTorch's embeddings can do besides."""
    if max_norm is not None:
        raise NotImplementedError(f"{name}: max_norm is not in gpunet\n  hint: scale the rows of weight by hand")
    if scale_grad_by_freq:
        raise NotImplementedError(
            f"{name}: scale_grad_by_freq is not in gpunet\n  hint: divide the rows of weight.grad by their counts"
        )
    if sparse:
        raise NotImplementedError(f"{name}: sparse gradients are not in gpunet\n  hint: sparse=False gives a dense one")
