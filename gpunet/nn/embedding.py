"""Embedding layer: a table of vectors, one for each index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Device
from gpunet.errors import ShapeError
from gpunet.nn import functional as F
from gpunet.nn import init
from gpunet.nn.functional.embedding import refuse_embedding_options
from gpunet.nn.module import Module
from gpunet.ops.embedding import padding_row
from gpunet.tensor import Parameter, Tensor, no_grad

__all__ = ["Embedding"]


class Embedding(Module):
    """Table of vectors: y[..., :] = weight[input[...], :]; see `gpunet.ops.embedding`.

    Args:
        num_embeddings, embedding_dim: how many vectors there are, and their length.
        padding_idx: a vector that is zero in the beginning and gets no gradient; negative ones count from the end.
        max_norm, norm_type, scale_grad_by_freq, sparse: not offered; they are there so that PyTorch's calls fit.
        device, dtype: of the weight; float32 on the CPU by default.

    Parameters: weight (num_embeddings, embedding_dim), normal with mean 0 and standard deviation 1.

    Raises:
        ShapeError: a size is negative.
        ValueError: there is no vector padding_idx.
        NotImplementedError: max_norm, scale_grad_by_freq or sparse is asked for.

    Example:
        >>> import gpunet
        >>> Embedding(10, 3, padding_idx=0)(gpunet.tensor([[1, 2], [4, 0]])).shape
        (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        refuse_embedding_options("Embedding", max_norm, scale_grad_by_freq, sparse)
        if min(num_embeddings, embedding_dim) < 0:
            raise ShapeError(f"Embedding: sizes must be >= 0, got {num_embeddings} and {embedding_dim}")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_row("Embedding", padding_idx, (num_embeddings,))
        be = backend.get(backend.device(device))
        self.weight = Parameter(be.empty((num_embeddings, embedding_dim), dtype))
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].zero_()

    def forward(self, input: Tensor) -> Tensor:
        """Look the vectors up."""
        return F.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
