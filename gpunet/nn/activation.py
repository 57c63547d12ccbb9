"""Activation layers."""

from __future__ import annotations

from gpunet.nn import functional as F
from gpunet.nn.functional.activation import refuse_inplace
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["ELU", "LeakyReLU", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """Rectified linear unit as a layer: max(x, 0).

    Args:
        inplace: False; the argument is there so that PyTorch's calls fit.

    Example:
        >>> import gpunet
        >>> ReLU()(gpunet.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        refuse_inplace("ReLU", inplace)

    def forward(self, input: Tensor) -> Tensor:
        """Clip negative elements to 0."""
        return F.relu(input)


class Sigmoid(Module):
    """Logistic function as a layer: 1 / (1 + exp(-x)).

    Example:
        >>> import gpunet
        >>> Sigmoid()(gpunet.tensor([0.0]))
        tensor([0.5])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map every element to between 0 and 1."""
        return F.sigmoid(input)


class Tanh(Module):
    """Hyperbolic tangent as a layer.

    Example:
        >>> import gpunet
        >>> Tanh()(gpunet.tensor([0.0]))
        tensor([0.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map every element to between -1 and 1."""
        return F.tanh(input)


class ELU(Module):
    """Exponential linear unit as a layer: x where x > 0, else alpha * (exp(x) - 1).

    Args:
        alpha: -alpha is the limit for very negative x.
        inplace: False; the argument is there so that PyTorch's calls fit.

    Example:
        >>> import gpunet
        >>> ELU(0.5)(gpunet.tensor([-1e4, 2.0]))
        tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        refuse_inplace("ELU", inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """Bend negative elements."""
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"alpha={self.alpha}"


class LeakyReLU(Module):
    """Leaky rectified linear unit as a layer: x where x > 0, else negative_slope * x.

    Args:
        negative_slope: what negative elements are multiplied with.
        inplace: False; the argument is there so that PyTorch's calls fit.

    Example:
        >>> import gpunet
        >>> LeakyReLU(0.5)(gpunet.tensor([-1.0, 2.0]))
        tensor([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        refuse_inplace("LeakyReLU", inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """Scale negative elements down."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"negative_slope={self.negative_slope}"


class Softmax(Module):
    """Softmax as a layer: exp(x) / sum(exp(x)) along one axis.

    Args:
        dim: the axis, counted from the end if negative.

    Example:
        >>> import gpunet
        >>> Softmax(1)(gpunet.tensor([[0.0, 0.0]]))
        tensor([[0.5, 0.5]])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Make probabilities."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Logarithm of softmax as a layer.

    Args:
        dim: the axis, counted from the end if negative.

    Example:
        >>> import gpunet
        >>> LogSoftmax(1)(gpunet.tensor([[1e4, 0.0]]))
        tensor([[     0., -10000.]])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Make logarithms of probabilities."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the settings, as Softmax prints them."""
        return f"dim={self.dim}"
