"""Dropout functions: torch.nn.functional's names over `gpunet.ops`, with the generator as a keyword."""

from __future__ import annotations

from gpunet import ops
from gpunet.backend.random import Draw, Generator
from gpunet.nn.functional.activation import refuse_inplace
from gpunet.tensor import Tensor, apply

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]

Source = Generator | Draw | None


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Source = None
) -> Tensor:
    """Set elements to zero with probability p and scale the others by 1/(1-p); see `gpunet.ops.dropout`.

    Example:
        >>> import gpunet
        >>> _ = gpunet.manual_seed(0)
        >>> dropout(gpunet.tensor([1.0] * 8))
        tensor([2., 0., 0., 2., 2., 2., 0., 0.])
    """
    refuse_inplace("dropout", inplace)
    return apply(ops.dropout, input, p, training, generator=generator)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Source = None
) -> Tensor:
    """Drop whole channels of (N, C, L); see `gpunet.ops.dropout1d`.

    Example:
        >>> import gpunet
        >>> dropout1d(gpunet.tensor([[[1.0, 2.0], [3.0, 4.0]]]), training=False).shape
        (1, 2, 2)
    """
    refuse_inplace("dropout1d", inplace)
    return apply(ops.dropout1d, input, p, training, generator=generator)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Source = None
) -> Tensor:
    """Drop whole channels of (N, C, H, W); see `gpunet.ops.dropout2d`.

    Example:
        >>> import gpunet, numpy as np
        >>> dropout2d(gpunet.Tensor(np.ones((2, 3, 4, 4)))).shape
        (2, 3, 4, 4)
    """
    refuse_inplace("dropout2d", inplace)
    return apply(ops.dropout2d, input, p, training, generator=generator)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Source = None
) -> Tensor:
    """Drop whole channels of (N, C, D, H, W); see `gpunet.ops.dropout3d`.

    Example:
        >>> import gpunet, numpy as np
        >>> dropout3d(gpunet.Tensor(np.ones((2, 3, 4, 4, 4)))).shape
        (2, 3, 4, 4, 4)
    """
    refuse_inplace("dropout3d", inplace)
    return apply(ops.dropout3d, input, p, training, generator=generator)
