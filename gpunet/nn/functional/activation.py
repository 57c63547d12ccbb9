"""Activations: torch.nn.functional's names over `gpunet.ops`, where torch.* has none or another signature."""

from __future__ import annotations

from gpunet import ops
from gpunet.tensor import Tensor, apply

__all__ = ["elu", "leaky_relu", "refuse_inplace", "relu"]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Rectified linear unit: max(input, 0), elementwise; see `gpunet.ops.relu`.

    Example:
        >>> import gpunet
        >>> relu(gpunet.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    refuse_inplace("relu", inplace)
    return apply(ops.relu, input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Exponential linear unit: alpha * (exp(input) - 1) where input is negative; see `gpunet.ops.elu`.

    Example:
        >>> import gpunet
        >>> elu(gpunet.tensor([-1e4, 2.0]))
        tensor([-1.,  2.])
    """
    refuse_inplace("elu", inplace)
    return apply(ops.elu, input, alpha)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Rectified linear unit that leaks: negative_slope * input where that is negative; see `gpunet.ops.leaky_relu`.

    Example:
        >>> import gpunet
        >>> leaky_relu(gpunet.tensor([-1.0, 2.0]), 0.5)
        tensor([-0.5,  2. ])
    """
    refuse_inplace("leaky_relu", inplace)
    return apply(ops.leaky_relu, input, negative_slope)


def refuse_inplace(name: str, inplace: bool) -> None:
    """Raise NotImplementedError for inplace=True: PyTorch's argument is taken, but every result is new memory."""
    if inplace:
        raise NotImplementedError(
            f"{name}: inplace=True is not in gpunet\n  hint: leave it out; the values are the same"
        )
