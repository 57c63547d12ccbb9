"""Cross entropy with class indices or class probabilities, log-softmax fused with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, Layout, layout_of, of
from gpunet.backend.dtypes import accumulator, is_float
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out, like
from gpunet.ops.loss import Reduction, check_reduction
from gpunet.ops.rows import Rows

__all__ = ["cross_entropy"]

_MOST_BLOCKS = 1024  # whose sums one block adds up


class CrossEntropy(Op):
    """Cross entropy between logits and class indices or class probabilities: log-softmax and likelihood in one.

        loss[n] = -sum_c weight[c] * q[n, c] * log(p[n, c]),  p = softmax of x along the classes
        q[n, c] = (1 - label_smoothing) * t[n, c] + label_smoothing / C,  t = the target; an index t is [c == t[n]]
        gx[n, c] = (p[n, c] * sum_k(weight[k] * q[n, k]) - weight[c] * q[n, c]) * gy / total

    where "mean" divides by total, the number of rows; with class indices rather the sum of weight[t[n]] over the rows
    that are not ignored. "sum" adds up, and "none" keeps one loss per row. A class with q = 0 costs nothing, whatever
    its logit is. It stays finite for logits of any size. The target has no gradient here.

    Args:
        x: (N, C, ...) or (C,) logits, any float dtype; each position of the axes after C is a row of its own.
        target: (N, ...) or () int64, class indices in [0, C); or probabilities, shape and dtype of x.
        weight: (C,), dtype of x.
        ignore_index: rows with this class index cost nothing; with probabilities it must be negative.
        reduction: "mean", "sum" or "none".
        label_smoothing: in [0, 1], how much of each row is shared evenly by all classes.

    Returns:
        A 0-d array, or (N, ...) for "none"; dtype of x. `forward` returns (loss, largest, log_sum, total): per row the
        largest logit and log(sum(exp(x - largest))), and what the sum of the losses was divided by.

    Raises:
        ShapeError: the target does not match the logits, or the weight does not match the classes.
        DTypeError: x is not floating-point, or the target is neither int64 nor of x's dtype.
        ValueError: a setting is out of its range.
        IndexError: a class index is out of range. On a GPU it is raised by the next read from the device, and
            optimizers leave the weights as they were.

    Memory: the gradient reads the inputs and two values per row; probabilities are never stored.

    Example:
        >>> float(cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """

    name, inputs, optional, outputs = "cross_entropy", ("x", "target", "weight"), ("weight",), ("loss",)
    extras, gradients = ("largest", "log_sum", "total"), ("x",)
    saves = (*inputs, *extras)
    axes = {"weight": "C"}

    def bind(
        self,
        x: Array,
        target: Array,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
        attrs = {
            "ignore_index": arguments.integer(self.name, "ignore_index", ignore_index),
            "reduction": check_reduction(self.name, reduction),
        }
        return (x, target, weight), {**attrs, "label_smoothing": float(label_smoothing)}

    def infer(
        self, x: Array, target: Array, weight: Array | None, *, ignore_index: int, reduction: Reduction, **attrs: Any
    ) -> tuple[Out, ...]:
        probabilities = is_float(target.dtype)
        self.require_floats(x=x, target=target if probabilities else None, weight=weight)
        axis = _class_axis(x)
        rows = (*x.shape[:axis], *x.shape[axis + 1 :])
        if x.ndim < 1 or x.shape[axis] < 1 or target.shape != (x.shape if probabilities else rows):
            raise self.error(
                ShapeError,
                "the logits and the target do not match.",
                expected="x (N, C, ...) with class indices (N, ...), or with probabilities of its own shape",
                hint=f"one class index per row; as probabilities: {arguments.conversion('target', x.dtype)}"
                if target.shape == x.shape
                else "",
                x=x,
                target=target,
            )
        if weight is not None and weight.shape != (x.shape[axis],):
            expected = f"weight (C,) with C = {x.shape[axis]}"
            raise self.error(ShapeError, "the weight does not match.", expected=expected, x=x, weight=weight)
        if not probabilities:
            self._check_indices(x, target, x.shape[axis], ignore_index)
        elif ignore_index >= 0:
            raise ValueError(f"cross_entropy: ignore_index must be negative with probabilities, got {ignore_index}")
        per_row = Out(rows, accumulator(x.dtype))
        loss = Out(rows if reduction == "none" else (), x.dtype)
        return loss, per_row, per_row, Out((), accumulator(x.dtype))

    def _check_indices(self, x: Array, target: Array, classes: int, ignore_index: int) -> None:
        if target.dtype != np.int64:
            raise self.error(
                DTypeError,
                "class indices have a wrong dtype.",
                expected=f"int64, got {target.dtype}",
                hint=arguments.conversion("target", "int64"),
                target=target,
            )
        if of(x).uses_kernels or not target.size or 0 <= target.min() <= target.max() < classes:
            return
        counted = target[target != ignore_index]
        if counted.size and not 0 <= counted.min() <= counted.max() < classes:
            raise self.out_of_range(classes, f", got {counted.min()} to {counted.max()}")

    def out_of_range(self, classes: int, found: str = "") -> Any:
        """Return the error of a class index outside [0, classes)."""
        return self.error(IndexError, "a class index is out of range.", expected=f"0 <= target < C = {classes}{found}")

    def reference(self, be: Backend, *arrays: Array, reduction: Reduction, **attrs: Any) -> None:
        loss, largest, log_sum, total, x, target, weight = arrays
        xp, axis = be.xp, _class_axis(x)
        largest[...] = xp.max(x, axis=axis)
        shifted = x - _spread(largest, axis)
        log_sum[...] = xp.log(xp.sum(xp.exp(shifted), axis=axis))
        shares = _shares(xp, x, target, weight, **attrs)
        rows = xp.sum(xp.where(shares == 0, 0, shares * (_spread(log_sum, axis) - shifted)), axis=axis)
        if reduction == "mean" and is_float(target.dtype):
            total[...] = log_sum.size
        elif reduction == "mean":
            total[...] = xp.sum(_shares(xp, x, target, weight, attrs["ignore_index"], label_smoothing=0.0))
        else:
            total[...] = 1
        loss[...] = rows if reduction == "none" else xp.sum(rows) / total

    def cpu(self, be: Backend, *arrays: Array, reduction: Reduction, ignore_index: int, label_smoothing: float) -> None:
        loss, largest, log_sum, total, x, target, weight = arrays
        if label_smoothing or is_float(target.dtype):
            attrs = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
            self.reference(be, *arrays, reduction=reduction, **attrs)
            return
        rows, logits, wanted, weights = _indexed(be, layout_of(x) or CONTIGUOUS, x, target, weight, ignore_index)
        costs = np.empty(target.shape, x.dtype)

        def work(logits: Array, wanted: Array, largest: Array, log_sum: Array, costs: Array) -> None:
            np.maximum.reduce(logits, axis=1, keepdims=True, out=largest)
            shifted = logits - largest
            np.negative(shifted[_places(shifted, wanted)], out=costs)
            np.log(np.add.reduce(np.exp(shifted, out=shifted), axis=1, keepdims=True), out=log_sum)
            costs += log_sum

        rows.in_chunks(work, logits, wanted, *map(rows.one_each, (largest, log_sum, costs)))
        if weights is not None:
            each = rows.one_each(costs)
            each[...] = np.where(weights == 0, 0, each * weights)
        total[...] = 1 if reduction != "mean" else costs.size if weights is None else np.sum(weights)
        loss[...] = costs if reduction == "none" else np.sum(costs) / total

    def cuda(
        self,
        be: KernelBackend,
        *arrays: Array,
        ignore_index: int,
        reduction: Reduction,
        label_smoothing: float,
    ) -> None:
        loss, largest, log_sum, total, x, target, weight = arrays
        grid, block, rows, read = _walk(be, layout_of(x) or CONTIGUOUS, x, target, weight, most_blocks=_MOST_BLOCKS)
        sums = (None, None) if reduction == "none" else [be.empty((grid,), total.dtype) for _ in range(2)]
        code = be.error_code(self.out_of_range(x.shape[_class_axis(x)]))
        outs = (loss if reduction == "none" else None, *sums, largest, log_sum)
        args = (*outs, *read, rows, ignore_index, label_smoothing, be.error_word, code)
        be.launch("cross_entropy.cu", "cross_entropy_forward", grid, block, args, REAL=x.dtype)
        if reduction == "none":
            be.fill(total, 1)
        else:
            args = (loss, total, *sums, grid, int(reduction == "mean"))
            be.launch("cross_entropy.cu", "cross_entropy_reduce", 1, 256, args, REAL=x.dtype)

    def infer_grad(
        self, gy: Array, x: Array, target: Array, weight: Array | None, *extras: Array, **attrs: Any
    ) -> tuple[Out | None, ...]:
        specs = self.infer(x, target, weight, **attrs)
        for name, array, spec in zip(("gy", *self.extras), (gy, *extras), specs, strict=True):
            self.require_saved(spec.shape, spec.dtype, **{name: array})
        return like(x), None, None

    def grad_reference(self, be: Backend, gx: Array, *arrays: Array, reduction: Reduction, **attrs: Any) -> None:
        _, _, gy, x, target, weight, largest, log_sum, total = arrays
        xp, axis = be.xp, _class_axis(x)
        shares = _shares(xp, x, target, weight, **attrs)
        softmax = xp.exp((x - _spread(largest, axis)) - _spread(log_sum, axis))
        factor = _spread(gy, axis) if reduction == "none" else gy / total
        gradient = (softmax * xp.sum(shares, axis=axis, keepdims=True) - shares) * factor
        gx[...] = xp.where(_ignored(xp, x, target, attrs["ignore_index"]), 0, gradient)

    def grad_cpu(
        self,
        be: Backend,
        gx: Array,
        *arrays: Array,
        reduction: Reduction,
        ignore_index: int,
        label_smoothing: float,
    ) -> None:
        _, _, gy, x, target, weight, largest, log_sum, total = arrays
        if label_smoothing or is_float(target.dtype):
            attrs = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
            self.grad_reference(be, gx, *arrays, reduction=reduction, **attrs)
            return
        rows, logits, wanted, weights = _indexed(be, layout_of(gx) or CONTIGUOUS, x, target, weight, ignore_index)
        factors = rows.one_each(be.dense(gy, CONTIGUOUS)) if reduction == "none" else gy / total
        factors = np.broadcast_to(factors, wanted.shape) if weights is None else weights * factors

        def work(gx: Array, logits: Array, wanted: Array, factors: Array, largest: Array, log_sum: Array) -> None:
            np.subtract(logits, largest, out=gx)
            np.exp(np.subtract(gx, log_sum, out=gx), out=gx)
            gx[_places(gx, wanted)] -= 1
            gx *= factors

        statistics = (rows.one_each(be.dense(a, CONTIGUOUS)) for a in (largest, log_sum))
        rows.in_chunks(work, rows.view(gx), logits, wanted, factors, *statistics)
        if weights is not None and not weights.all():
            rows.view(gx)[...] = np.where(weights == 0, 0, rows.view(gx))

    def grad_cuda(
        self,
        be: KernelBackend,
        gx: Array,
        *arrays: Array,
        ignore_index: int,
        reduction: Reduction,
        label_smoothing: float,
    ) -> None:
        _, _, gy, x, target, weight, *extras = arrays
        grid, block, rows, read = _walk(be, layout_of(gx) or CONTIGUOUS, x, target, weight)
        extras = [be.dense(extra, CONTIGUOUS) for extra in extras]
        args = (gx, be.dense(gy, CONTIGUOUS), *read, *extras, rows, ignore_index, label_smoothing)
        stride = int(reduction == "none")
        be.launch("cross_entropy.cu", "cross_entropy_backward", grid, block, (*args, stride), REAL=x.dtype)


def _class_axis(x: Array) -> int:
    return 1 if x.ndim > 1 else 0


def _spread(per_row: Array, axis: int) -> Array:
    """View one value per row so that it broadcasts along the classes."""
    return per_row[(*[slice(None)] * axis, None)]


def _ignored(xp: Any, x: Array, target: Array, ignore_index: int) -> Array:
    """Return where rows are ignored, so that it broadcasts along the classes."""
    if is_float(target.dtype):
        return xp.zeros((1,) * x.ndim, bool)
    return _spread(target, _class_axis(x)) == ignore_index


def _shares(xp: Any, x: Array, target: Array, weight: Array | None, ignore_index: int, label_smoothing: float) -> Array:
    """Return how much each class of each row counts: its probability, smoothed and weighted; 0 in ignored rows."""
    axis = _class_axis(x)
    classes, column = x.shape[axis], (-1, *[1] * (x.ndim - 1 - axis))
    probability = target
    if not is_float(target.dtype):
        probability = (xp.arange(classes).reshape(column) == _spread(target, axis)).astype(x.dtype)
    shares = probability * (1 - label_smoothing) + label_smoothing / classes
    if weight is not None:
        shares = shares * weight.reshape(column)
    return xp.where(_ignored(xp, x, target, ignore_index), 0, shares)


def _walk(
    be: KernelBackend, layout: Layout, x: Array, target: Array, weight: Array | None, **most_blocks: int
) -> tuple[int, int, Any, list[Array]]:
    """Return grid, block, how kernels walk the rows, and their inputs: logits, indices or probabilities, weights."""
    grid, block, fields = Rows(x.shape, _class_axis(x), layout).launch_sizes(x.dtype, **most_blocks)
    target = be.dense(target, layout if is_float(target.dtype) else CONTIGUOUS)
    targets = [None, target] if is_float(target.dtype) else [target, None]
    weight = None if weight is None else be.dense(weight, CONTIGUOUS)
    return grid, block, be.struct("cross_entropy.cu", "Rows", **fields), [be.dense(x, layout), *targets, weight]


def _indexed(
    be: Backend, layout: Layout, x: Array, target: Array, weight: Array | None, ignore_index: int
) -> tuple[Rows, Array, Array, Array | None]:
    """Return how rows lie, and views of the logits, of indices that exist, and of the weights, 0 in ignored rows.

    The weights are None where all are 1.
    """
    rows = Rows(x.shape, _class_axis(x), layout)
    logits, counted = rows.view(be.dense(x, layout)), target != ignore_index
    if weight is None and counted.all():
        return rows, logits, rows.one_each(be.dense(target, CONTIGUOUS)), None
    wanted = np.where(counted, target, 0)
    weights = counted.astype(x.dtype) if weight is None else np.where(counted, weight[wanted], 0)
    return rows, logits, rows.one_each(wanted), rows.one_each(weights)


def _places(rows: Array, wanted: Array) -> tuple[Array, Array, Array]:
    """Return the index of one element of each row (outer, size, inner)."""
    outer, _, inner = rows.shape
    return np.arange(outer)[:, None, None], wanted, np.arange(inner)


cross_entropy = CrossEntropy()
