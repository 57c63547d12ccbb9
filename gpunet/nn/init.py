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

__all__ = ["fan_in", "kaiming_uniform_", "uniform_"]

if not TYPE_CHECKING:  # type checkers shall go on to find misspelled names
    __getattr__ = absent(__name__)


def fan_in(shape: Sequence[int]) -> int:
    """Return how many inputs feed one output of a weight (O, I, *window).

    >>> fan_in((32, 16, 3, 3))
    144
    """
    if len(shape) < 2:
        raise ShapeError(f"fan_in: expected a weight (O, I, *window), got shape {tuple(shape)}")
    return math.prod(shape[1:])


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


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, generator: Generator | None = None) -> Tensor:
    """Fill a weight uniformly so that ReLU-like layers keep the variance of their input.

        bound = sqrt(6 / ((1 + a**2) * fan_in)),  values in [-bound, bound)

    Args:
        tensor: (O, I, *window), changed in place, and returned.
        a: negative slope of the activation; sqrt(5) is what layers use by default, as in PyTorch.
        generator: source of randomness; that of `gpunet.manual_seed` by default.

    Source: He et al. 2015.

    Example:
        >>> import gpunet
        >>> weight = gpunet.nn.init.kaiming_uniform_(gpunet.tensor([[0.0] * 6]))
        >>> bool(abs(weight.array).max() <= 1)
        True
    """
    bound = math.sqrt(6.0 / ((1.0 + a * a) * fan_in(tensor.shape)))
    return uniform_(tensor, -bound, bound, generator)
