"""Batch norm: statistics of a batch, running statistics, and all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks, power_of_two
from gpunet.backend.layout import memory_view
from gpunet.errors import DTypeError, ShapeError, layout_message
from gpunet.ops import norm_cpu
from gpunet.ops.arguments import require_writable
from gpunet.ops.base import Op, Out, like

__all__ = ["batch_norm"]

_THREADS, _BLOCKS = 128, 2048  # of a block of kernels/norm.cu; that fill a large GPU
_CHANNELS = 32  # of a block at most
_LEAST_ROWS, _LEAST_LOADS = 512, 8  # of a split, and of a thread


class BatchNorm(Op):
    """Normalise each channel over the batch and all pixels, then scale and shift it.

        y = (x - mean[c]) / sqrt(var[c] + eps) * weight[c] + bias[c]
        running = (1 - momentum) * running + momentum * batch          (in training, in place)

    In training mean and var are those of the batch, var the biased one; the running variance takes the unbiased one.
    In evaluation they are the running ones, and the gradient treats them as constants.

    Args:
        x: (N, C) or (N, C, *spatial) with up to three spatial axes, any float dtype.
        running_mean, running_var: (C,), changed in place in training; None for none.
        weight, bias: (C,), or None for 1 and 0. All four have one dtype: that of x, or float32 for 16-bit x.
        num_batches_tracked: () int64, counts up in training; needed where momentum is None.
        training: use the statistics of the batch.
        momentum: weight of the new batch; None averages over all batches: 1 / num_batches_tracked.
        eps: added to the variance, > 0.

    Returns:
        Shape, dtype and layout of x. `forward` returns (y, mean, inv_std), the latter float32 for 16-bit x.

    Raises:
        ShapeError: x has another number of axes, an argument is not (C,), one that is changed is not contiguous, or
            there is one value per channel in training.
        DTypeError: a dtype does not fit.
        ValueError: running statistics or the counter are missing, or read-only in training; eps is not positive.

    Memory: the gradient reads x, weight, mean and inv_std. Precision: deviations from a mean are summed, never x * x,
    so that channels far from zero keep their variance; mean is as precise as its dtype.
    Source: Ioffe and Szegedy 2015; Welford 1962, Chan, Golub and LeVeque 1979 (statistics).

    Example:
        >>> batch_norm(np.array([[1.0], [3.0]]), None, None, training=True, eps=1e-12)
        array([[-1.],
               [ 1.]])
    """

    name = "batch_norm"
    inputs = ("x", "running_mean", "running_var", "weight", "bias", "num_batches_tracked")
    optional, mutates = inputs[1:], ("running_mean", "running_var", "num_batches_tracked")
    extras, saves = ("mean", "inv_std"), ("x", "weight", "bias", "mean", "inv_std")
    gradients = ("x", "weight", "bias")
    axes = dict.fromkeys(inputs[1:5], "C")

    def bind(
        self,
        x: Array,
        running_mean: Array | None,
        running_var: Array | None,
        weight: Array | None = None,
        bias: Array | None = None,
        num_batches_tracked: Array | None = None,
        training: bool = False,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not eps > 0:
            raise ValueError(layout_message(self.name, "eps is not positive.", expected=f"a number > 0, got {eps!r}"))
        momentum = None if momentum is None else float(momentum)
        arrays = (x, running_mean, running_var, weight, bias, num_batches_tracked)
        return arrays, {"training": bool(training), "momentum": momentum, "eps": float(eps)}

    def infer(self, x: Array, *others: Any, training: bool, momentum: float | None, eps: float) -> tuple[Out, Out, Out]:
        running_mean, running_var, weight, bias, batches = others
        self.require_floats(x=x)
        if not 2 <= x.ndim <= 5:
            raise self.error(
                ShapeError,
                "x has the wrong number of axes.",
                expected=f"(N, C) and up to three spatial axes, got {x.ndim} axes",
                x=x,
            )
        running = {"running_mean": running_mean, "running_var": running_var}
        self._check_channels(x, **running, weight=weight, bias=bias)
        if (running_mean is None) != (running_var is None) or (running_mean is None and not training):
            raise self.error(
                ValueError,
                "running statistics are missing.",
                expected="running_mean and running_var, or neither of them in training",
                hint="training=True uses the statistics of the batch",
                x=x,
                **running,
            )
        if training:
            self._check_training(x, batches, momentum, **running)
        statistic = Out(x.shape[1:2], accumulator(x.dtype))
        return like(x), statistic, statistic

    def _check_channels(self, x: Array, **arrays: Array | None) -> None:
        """Raise unless all arrays that are there are (C,) and share a dtype that goes with x."""
        present = {name: array for name, array in arrays.items() if array is not None}
        if any(array.shape != x.shape[1:2] for array in present.values()):
            raise self.error(
                ShapeError,
                "an argument does not match the channels of x.",
                expected=f"(C,) = ({x.shape[1]},) for all",
                hint="build the layer with num_features=C, or move the channel axis of x to 1",
                x=x,
                **present,
            )
        dtypes, fitting = {array.dtype for array in present.values()}, {x.dtype, accumulator(x.dtype)}
        if len(dtypes) > 1 or not dtypes <= fitting:
            raise self.error(
                DTypeError,
                "the dtypes do not fit.",
                expected=f"one dtype for all but x: {' or '.join(sorted(map(str, fitting)))}",
                x=x,
                **present,
            )

    def _check_training(self, x: Array, batches: Array | None, momentum: float | None, **running: Array | None) -> None:
        """Raise what is wrong in training only."""
        if x.size and x.size == x.shape[1]:
            raise self.error(
                ShapeError,
                "training needs more than one value per channel.",
                expected="N times the number of pixels > 1, got 1",
                hint="use a larger batch, or model.eval()",
                x=x,
            )
        if momentum is None and batches is None and running["running_mean"] is not None:
            problem = "momentum None takes the average over batches, which nobody counts."
            raise ValueError(layout_message(self.name, problem, expected="num_batches_tracked"))
        if batches is not None and (batches.shape != () or batches.dtype != np.int64):
            expected = f"() int64, got {batches.shape} {batches.dtype}"
            raise self.error(DTypeError, "the counter does not fit.", expected=expected, num_batches_tracked=batches)
        require_writable(self.name, **running, num_batches_tracked=batches)
        for name, array in running.items():
            if array is not None and not array.flags.c_contiguous:
                expected = f"contiguous memory, got strides {array.strides}"
                raise self.error(ShapeError, f"{name} cannot be changed in place.", expected=expected, **{name: array})

    def reference(
        self, be: Backend, y: Array, mean: Array, inv_std: Array, x: Array, *others: Any, **attrs: Any
    ) -> None:
        running_mean, running_var, weight, bias, batches = others
        rows, axes = _count_rows(x), (0, *range(2, x.ndim))
        if attrs["training"]:
            mean[...] = be.xp.sum(x, axis=axes) / max(rows, 1)
            deviations = x - _per_channel(mean, x)
            var = be.xp.sum(deviations * deviations, axis=axes) / max(rows, 1)
            _update(running_mean, running_var, batches, mean, var, rows, attrs["momentum"])
        else:
            mean[...], var = running_mean, running_var
        inv_std[...] = 1 / be.xp.sqrt(var + attrs["eps"])
        out = (x - _per_channel(mean, x)) * _per_channel(inv_std, x)
        out = out if weight is None else out * _per_channel(weight, x)
        y[...] = out if bias is None else out + _per_channel(bias, x)

    def cpu(self, be: Backend, y: Array, mean: Array, inv_std: Array, x: Array, *others: Any, **attrs: Any) -> None:
        running_mean, running_var, weight, bias, batches = others
        matrix = _matrix(be.dense(x, CHANNELS_LAST))
        if attrs["training"]:
            mean[...], var = norm_cpu.moments(matrix)
            _update(running_mean, running_var, batches, mean, var, len(matrix), attrs["momentum"])
        else:
            mean[...], var = running_mean, running_var
        inv_std[...] = 1 / np.sqrt(var + attrs["eps"])
        with be.dense_output(y, CHANNELS_LAST) as out:
            norm_cpu.normalise(_matrix(out), matrix, mean, inv_std, weight, bias)

    def cuda(
        self, be: KernelBackend, y: Array, mean: Array, inv_std: Array, x: Array, *others: Any, **attrs: Any
    ) -> None:
        running_mean, running_var, weight, bias, batches = others
        x, launch = be.dense(x, CHANNELS_LAST), _Launcher(be, x, running_mean, weight, bias)
        if attrs["training"]:
            parts = [launch.partials() for _ in range(2)]
            launch.reduction("batch_norm_moments", *parts, batches, x, *launch.sizes, be.error_word)
            momentum = attrs["momentum"]
            settings = (0.0 if momentum is None else momentum, attrs["eps"], be.error_word)
            counter = batches if momentum is None else None
            arrays = (mean, inv_std, running_mean, running_var, *parts, x, counter)
            launch.merge("batch_norm_statistics", *arrays, *launch.sizes, launch.splits, *settings)
        else:
            running = [be.dense(array, CONTIGUOUS) for array in (running_mean, running_var)]
            launch.running(mean, inv_std, *running, launch.channels, attrs["eps"])
        params = [None if array is None else be.dense(array, CONTIGUOUS) for array in (weight, bias)]
        with be.dense_output(y, CHANNELS_LAST) as out:
            launch.each("batch_norm_forward", out, x, mean, inv_std, *params, launch.rows, launch.channels)

    def infer_grad(
        self, gy: Array, x: Array, weight: Array | None, bias: Array | None, mean: Array, inv_std: Array, **attrs: Any
    ) -> tuple[Out | None, ...]:
        self._check_channels(x, weight=weight, bias=bias)
        self.require_saved(x.shape, x.dtype, gy=gy)
        for name, statistic in (("mean", mean), ("inv_std", inv_std)):
            self.require_saved(x.shape[1:2], accumulator(x.dtype), **{name: statistic})
        params = (None if array is None else like(array) for array in (weight, bias))
        return (like(x), None, None, *params, None)

    def grad_reference(self, be: Backend, *arrays: Any, training: bool, **attrs: Any) -> None:
        gx, _, _, gw, gb, _, gy, x, weight, _, mean, inv_std = arrays
        axes = (0, *range(2, x.ndim))
        normalised = (x - _per_channel(mean, x)) * _per_channel(inv_std, x)
        gradient, product = be.xp.sum(gy, axis=axes), be.xp.sum(gy * normalised, axis=axes)
        if gw is not None:
            gw[...] = product
        if gb is not None:
            gb[...] = gradient
        if gx is not None:
            out = gy
            if training:
                out = gy - (_per_channel(gradient, x) + normalised * _per_channel(product, x)) / max(_count_rows(x), 1)
            out = out * _per_channel(inv_std, x)
            gx[...] = out if weight is None else out * _per_channel(weight, x)

    def grad_cpu(self, be: Backend, *arrays: Any, training: bool, **attrs: Any) -> None:
        gx, _, _, gw, gb, _, gy, x, weight, _, mean, inv_std = arrays
        pixels, gradients = (_matrix(be.dense(array, CHANNELS_LAST)) for array in (x, gy))
        sums: Any = None
        if training or gw is not None or gb is not None:
            sums = norm_cpu.sums(gradients, pixels, mean, inv_std)
        if gw is not None:
            gw[...] = sums[1]
        if gb is not None:
            gb[...] = sums[0]
        if gx is not None:
            rows, scale = max(len(pixels), 1), inv_std if weight is None else inv_std * weight
            terms = (sums[0] / rows, sums[1] * inv_std / rows) if training else ()
            with be.dense_output(gx, CHANNELS_LAST) as out:
                norm_cpu.input_gradient(_matrix(out), gradients, pixels, scale, mean, *terms)

    def grad_cuda(self, be: KernelBackend, *arrays: Any, training: bool, **attrs: Any) -> None:
        gx, _, _, gw, gb, _, gy, x, weight, bias, mean, inv_std = arrays
        x, gy = be.dense(x, CHANNELS_LAST), be.dense(gy, CHANNELS_LAST)
        launch, sums = _Launcher(be, x, weight, bias), (None, None)
        if training or gw is not None or gb is not None:
            parts = [launch.partials() for _ in range(2)]
            launch.reduction("batch_norm_sums", *parts, gy, x, mean, inv_std, *launch.sizes)
            totals = [be.empty(mean.shape, mean.dtype) for _ in range(2)]
            launch.merge("batch_norm_totals", *totals, gw, gb, *parts, launch.channels, launch.splits)
            sums = tuple(totals) if training else sums
        weight = None if weight is None else be.dense(weight, CONTIGUOUS)
        with be.dense_output(gx, CHANNELS_LAST) as out:
            if out is not None:
                args = (out, gy, x, mean, inv_std, weight, *sums, launch.rows, launch.channels)
                launch.each("batch_norm_backward", *args)


class _Launcher:
    """Launches kernels/norm.cu on a matrix of rows and channels."""

    def __init__(self, be: KernelBackend, x: Array, *params: Array | None) -> None:
        self.be, self.channels, self.rows = be, x.shape[1], _count_rows(x)
        width = 16 // x.itemsize  # channels of a thread
        across = power_of_two(blocks(min(self.channels, _CHANNELS), width))
        self.block = across, _THREADS // across
        self.columns = blocks(self.channels, across * width)
        per_split = max(_LEAST_ROWS, _LEAST_LOADS * self.block[1], blocks(self.rows, _BLOCKS // 2))
        self.splits = max(1, blocks(self.rows, per_split))
        self.sizes = (self.rows, self.channels, per_split)
        dtype = next((array.dtype for array in params if array is not None), x.dtype)
        self.macros = {"REAL": x.dtype, "PARAM": dtype}

    def partials(self) -> Array:
        """Return memory for one number per split and channel."""
        return self.be.empty((self.splits, self.channels), accumulator(self.macros["REAL"]))

    def reduction(self, name: str, *args: Any) -> None:
        """Launch what reduces each split."""
        self.be.launch("norm.cu", name, (self.columns, self.splits), self.block, args, **self.macros)

    def merge(self, name: str, *args: Any) -> None:
        """Launch what merges the splits."""
        self.be.launch("norm.cu", name, self.columns, self.block, args, **self.macros)

    def each(self, name: str, *args: Any) -> None:
        """Launch what works element by element: as many blocks as the GPU holds, which then walk the rows."""
        most = max(1, _BLOCKS // max(self.columns, 1))
        grid = self.columns, min(blocks(self.rows, self.block[1]), most)
        self.be.launch("norm.cu", name, grid, self.block, args, **self.macros)

    def running(self, *args: Any) -> None:
        """Launch one thread per channel."""
        self.be.launch("norm.cu", "batch_norm_running", blocks(self.channels), 256, args, **self.macros)


def _count_rows(x: Array) -> int:
    """Return how many values a channel has."""
    return x.size // x.shape[1] if x.shape[1] else 0


def _matrix(x: Array) -> Array:
    """View channels-last memory as (rows, channels)."""
    return memory_view(x, CHANNELS_LAST).reshape(_count_rows(x), x.shape[1])


def _per_channel(values: Array, x: Array) -> Array:
    """Give (C,) the axes of x."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def _update(
    running_mean: Array | None,
    running_var: Array | None,
    batches: Any,
    mean: Array,
    var: Array,
    rows: int,
    momentum: float | None,
) -> None:
    """Count the batch and take its statistics into the running ones, in place."""
    if batches is not None:
        batches[...] = batches + 1
    if running_mean is None or running_var is None or not rows:
        return
    share = 1 / batches if momentum is None else momentum
    running_mean[...] = (1 - share) * running_mean + share * mean
    running_var[...] = (1 - share) * running_var + share * var * (rows / (rows - 1))


batch_norm = BatchNorm()
