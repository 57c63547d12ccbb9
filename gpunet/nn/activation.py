"""Activation layers."""

from __future__ import annotations

from gpunet.nn import functional as F
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["ReLU"]


class ReLU(Module):
    """Rectified linear unit as a layer: max(x, 0).

    Example:
        >>> import gpunet
        >>> ReLU()(gpunet.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Clip negative elements to 0."""
        return F.relu(input)
