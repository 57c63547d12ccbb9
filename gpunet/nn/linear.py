"""Linear layers and reshaping."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gpunet import backend
from gpunet.backend import Device
from gpunet.errors import ShapeError
from gpunet.nn import functional as F
from gpunet.nn import init
from gpunet.nn.module import Module
from gpunet.tensor import Parameter, Tensor

__all__ = ["Flatten", "Linear"]


class Linear(Module):
    """Affine layer: y = x @ weight.T + bias.

    Args:
        in_features, out_features: sizes of the last axis before and after.
        bias: whether to learn a bias.
        device, dtype: of the parameters; float32 on the CPU by default.

    Parameters: weight (out_features, in_features) and bias (out_features,), uniform in +-1/sqrt(in_features).

    Raises:
        ShapeError: a size is below 1.

    Example:
        >>> import gpunet
        >>> Linear(3, 2)(gpunet.tensor([[1.0, 2.0, 3.0]])).shape
        (1, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ShapeError(f"Linear: sizes must be >= 1, got {in_features} and {out_features}")
        self.in_features, self.out_features = in_features, out_features
        be = backend.get(backend.device(device))
        self.weight = Parameter(be.empty((out_features, in_features), dtype))
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(be.empty((out_features,), dtype))
            bound = 1 / math.sqrt(in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Map the last axis."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Flatten(Module):
    """Merge axes into one; all but the batch axis by default.

    Example:
        >>> import gpunet
        >>> Flatten()(gpunet.tensor([[[1.0], [2.0]]])).shape
        (1, 2)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Reshape, in (N, C, *spatial) order."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
