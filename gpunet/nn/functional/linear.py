"""Linear functions: torch.nn.functional's names over `gpunet.ops`."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor import Tensor, apply
from gpunet.tensor.precision import matmul_allows_tf32

__all__ = ["linear"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Affine map of the last axis: input @ weight.T + bias; see `gpunet.ops.linear`.

    Example:
        >>> import gpunet
        >>> linear(gpunet.tensor([[1.0, 2.0]]), gpunet.tensor([[3.0, 4.0]]), gpunet.tensor([0.5]))
        tensor([[11.5]])
    """
    return apply(ops.linear, input, weight, bias, allow_tf32=matmul_allows_tf32())
