"""Weight initialisation. Random numbers are drawn on the host, so every device starts with the same bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunet import backend
from gpunet.backend.dtypes import is_half
from gpunet.backend.random import Generator, default_generator
from gpunet.errors import ShapeError, absent
from gpunet.tensor import Tensor, no_grad

__all__ = [
    "calculate_gain",
    "constant_",
    "fan_in",
    "fan_out",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "uniform_",
    "xavier_uniform_",
    "zeros_",
]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)


def fan_in(shape: Sequence[int]) -> int:
    """Return how many inputs feed one output of a weight (O, I, *window).

    >>> fan_in((32, 16, 3, 3))
    144
    """
    _check_weight("fan_in", shape)
    return math.prod(shape[1:])


def fan_out(shape: Sequence[int]) -> int:
    """Return how many outputs one input of a weight (O, I, *window) feeds.

    >>> fan_out((32, 16, 3, 3))
    288
    """
    _check_weight("fan_out", shape)
    return shape[0] * math.prod(shape[2:])


def _check_weight(name: str, shape: Sequence[int]) -> None:
    if len(shape) < 2:
        raise ShapeError(f"{name}: expected a weight (O, I, *window), got shape {tuple(shape)}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a tensor with numbers drawn uniformly from [a, b).

    Args:
        tensor: of a float dtype, changed in place, and returned; 16-bit floats are drawn in float32 and rounded.
        a, b: bounds.
        generator: source of randomness; that of `gpunet.manual_seed` by default.

    Example:
        >>> import gpunet
        >>> gpunet.nn.init.uniform_(gpunet.tensor([0.0, 0.0]), 2.0, 3.0).array.min() >= 2
        np.True_
    """
    drawn = np.dtype(np.float32) if is_half(tensor.dtype) else tensor.dtype
    values = (generator or default_generator).uniform(tensor.shape, a, b, drawn).astype(tensor.dtype, copy=False)
    with no_grad():
        return tensor.copy_(Tensor(backend.of(tensor.array).from_numpy(values)))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a tensor with numbers drawn from a normal distribution.

        x = mean + std * sqrt(-2 * log(1 - u)) * cos(2 * pi * v), with sin in the second half; u, v uniform in [0, 1)

    Args:
        tensor: of a float dtype, changed in place, and returned; numbers are drawn in float64 and rounded.
        mean, std: mean and standard deviation.
        generator: source of randomness; that of `gpunet.manual_seed` by default.

    Raises:
        ValueError: std is negative.

    Source: Box and Muller, A Note on the Generation of Random Normal Deviates, 1958.

    Example:
        >>> import gpunet
        >>> gpunet.nn.init.normal_(gpunet.tensor([0.0, 0.0]), 5.0, 0.1).array.round() == 5
        array([ True,  True])
    """
    if std < 0:
        raise ValueError(f"normal_: std must be >= 0, got {std}")
    size = math.prod(tensor.shape)
    u, v = (generator or default_generator).uniform((2, (size + 1) // 2), dtype=np.float64)
    radius, angle = np.sqrt(-2 * np.log1p(-u)), 2 * math.pi * v
    values = (mean + std * np.concatenate([radius * np.cos(angle), radius * np.sin(angle)]))[:size]
    host = values.reshape(tensor.shape).astype(tensor.dtype)
    with no_grad():
        return tensor.copy_(Tensor(backend.of(tensor.array).from_numpy(host)))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill a tensor with one number, in place, and return it.

    Example:
        >>> import gpunet
        >>> constant_(gpunet.nn.Parameter(gpunet.tensor([1.0, 2.0])), 0.5)
        tensor([0.5, 0.5], requires_grad=True)
    """
    with no_grad():
        return tensor.fill_(val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill a tensor with 0, in place, and return it.

    Example:
        >>> import gpunet
        >>> zeros_(gpunet.tensor([1.0, 2.0]))
        tensor([0., 0.])
    """
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill a tensor with 1, in place, and return it.

    Example:
        >>> import gpunet
        >>> ones_(gpunet.tensor([1.0, 2.0]))
        tensor([1., 1.])
    """
    return constant_(tensor, 1)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by what weights are scaled for the activation that follows them.

    Args:
        nonlinearity: "relu", "leaky_relu", "tanh", "sigmoid" or "linear".
        param: negative slope of leaky_relu, 0.01 by default.

    Raises:
        ValueError: another nonlinearity.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope * slope)),
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: nonlinearity must be one of {sorted(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight uniformly so that outputs vary as inputs do, and gradients too, as far as both can be had.

        bound = gain * sqrt(6 / (fan_in + fan_out)),  values in [-bound, bound)

    Args:
        tensor: (O, I, *window), changed in place, and returned.
        gain: from `calculate_gain`.
        generator: source of randomness; that of `gpunet.manual_seed` by default.

    Source: Glorot and Bengio 2010.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.init.xavier_uniform_(gpunet.tensor([[0.0] * 5]))
        >>> bool(abs(weight.array).max() <= 1)
        True
    """
    bound = gain * math.sqrt(6 / max(fan_in(tensor.shape) + fan_out(tensor.shape), 1))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill a weight uniformly so that ReLU-like layers keep the variance of their input, or of their gradient.

        bound = gain * sqrt(3 / fan),  values in [-bound, bound)

    Args:
        tensor: (O, I, *window), changed in place, and returned.
        a: negative slope of leaky_relu; sqrt(5) is what layers use by default, as in PyTorch.
        mode: "fan_in" keeps the variance of inputs, "fan_out" that of gradients.
        nonlinearity: of the activation, see `calculate_gain`.
        generator: source of randomness; that of `gpunet.manual_seed` by default.

    Raises:
        ValueError: mode or nonlinearity is another one.

    Source: He et al. 2015.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.init.kaiming_uniform_(gpunet.tensor([[0.0] * 6]))
        >>> bool(abs(weight.array).max() <= 1)
        True
    """
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming_uniform_: mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fan_in(tensor.shape) if mode == "fan_in" else fan_out(tensor.shape)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / max(fan, 1))
    return uniform_(tensor, -bound, bound, generator)
