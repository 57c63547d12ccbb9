"""Batch norm layers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gpunet import backend, ops
from gpunet.backend import Device
from gpunet.errors import ShapeError, layout_message
from gpunet.nn.module import Module
from gpunet.tensor import Parameter, Tensor, apply

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _BatchNorm(Module):
    _axes: ClassVar[tuple[int, ...]]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | Device = "cpu",
        dtype: npt.DTypeLike = np.float32,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise ShapeError(f"{type(self).__name__}: num_features must be >= 1, got {num_features}")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        be, size = backend.get(backend.device(device)), (num_features,)
        self.weight = Parameter(be.full(size, 1, dtype)) if affine else None
        self.bias = Parameter(be.zeros(size, dtype)) if affine and bias else None
        buffers = {
            "running_mean": be.zeros(size, dtype),
            "running_var": be.full(size, 1, dtype),
            "num_batches_tracked": be.zeros((), np.int64),
        }
        for name, array in buffers.items():
            self.register_buffer(name, Tensor(array) if track_running_stats else None)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with the statistics of the batch in training, with the running ones in evaluation."""
        if input.ndim not in self._axes:
            problem = "the input has the wrong number of axes."
            expected = f"{' or '.join(map(str, self._axes))}, got {input.ndim}"
            raise ShapeError(layout_message(type(self).__name__, problem, expected=expected))
        arrays = input, self.running_mean, self.running_var, self.weight, self.bias, self.num_batches_tracked
        training = self.training or self.running_mean is None
        return apply(ops.batch_norm, *arrays, training, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """Return the settings, as PyTorch prints them."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch norm of (N, C) or (N, C, L); the formula stands at `gpunet.ops.batch_norm`.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of a new batch in the running statistics; None for the average over all batches.
        affine: learn weight and bias, which start at 1 and 0.
        track_running_stats: keep running statistics for evaluation, which else takes those of its batch, too.
        device, dtype: of parameters and statistics; float32 on the CPU by default. 16-bit inputs go with float32, too.
        bias: False for affine layers that only scale.

    Parameters: weight, bias (C,). Buffers: running_mean, running_var (C,), num_batches_tracked, an int64.

    Raises:
        ShapeError: num_features is below 1; the input has other axes, or one value per channel in training.

    Example:
        >>> import gpunet
        >>> layer = BatchNorm1d(2)
        >>> layer(gpunet.tensor([[1.0, 2.0], [3.0, 6.0]])).shape
        (2, 2)
        >>> layer.running_mean
        tensor([0.2, 0.4])
    """

    _axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch norm of (N, C, H, W); everything else is as in `BatchNorm1d`.

    Example:
        >>> import gpunet, numpy as np
        >>> BatchNorm2d(3)(gpunet.Tensor(np.zeros((2, 3, 5, 5), np.float32))).shape
        (2, 3, 5, 5)
    """

    _axes = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch norm of (N, C, D, H, W); everything else is as in `BatchNorm1d`.

    Example:
        >>> import gpunet, numpy as np
        >>> BatchNorm3d(3)(gpunet.Tensor(np.zeros((2, 3, 4, 5, 5), np.float32))).shape
        (2, 3, 4, 5, 5)
    """

    _axes = (5,)
