"""Dropout layers: active in training, without effect in evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gpunet.nn import functional as F
from gpunet.nn.functional.activation import refuse_inplace
from gpunet.nn.module import Module
from gpunet.ops.dropout import probability
from gpunet.tensor import Tensor

__all__ = ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d"]


class Dropout(Module):
    """Set elements to zero with probability p and scale the others by 1/(1-p); see `gpunet.ops.dropout`.

    Masks come from the generator of `gpunet.manual_seed`: the same seed gives the same masks on every device.

    Args:
        p: probability of zero, in [0, 1].
        inplace: False; the argument is there so that PyTorch's calls fit.

    Raises:
        ValueError: p is not in [0, 1].

    Example:
        >>> import gpunet
        >>> Dropout(0.2).eval()(gpunet.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    _function: ClassVar[Callable[..., Tensor]] = F.dropout

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        refuse_inplace(type(self).__name__, inplace)
        self.p = probability(type(self).__name__, p)

    def forward(self, input: Tensor) -> Tensor:
        """Drop in training; return the input itself in evaluation."""
        return type(self)._function(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"p={self.p}, inplace=False"


class Dropout1d(Dropout):
    """Drop whole channels of (N, C, L); see `Dropout`.

    Example:
        >>> import gpunet
        >>> Dropout1d().eval()(gpunet.tensor([[[1.0, 2.0]]])).shape
        (1, 1, 2)
    """

    _function = F.dropout1d


class Dropout2d(Dropout):
    """Drop whole channels of (N, C, H, W); see `Dropout`.

    Example:
        >>> import gpunet, numpy as np
        >>> Dropout2d(0.1)(gpunet.Tensor(np.ones((2, 3, 4, 4)))).shape
        (2, 3, 4, 4)
    """

    _function = F.dropout2d


class Dropout3d(Dropout):
    """Drop whole channels of (N, C, D, H, W); see `Dropout`.

    Example:
        >>> import gpunet, numpy as np
        >>> Dropout3d(0.1)(gpunet.Tensor(np.ones((2, 3, 4, 4, 4)))).shape
        (2, 3, 4, 4, 4)
    """

    _function = F.dropout3d
