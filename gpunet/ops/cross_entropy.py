"""Cross entropy, with log-softmax in one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops.base import Op, Out
from gpunet.ops.loss import Reduction, check_reduction
from gpunet.ops.reduce import sum_to_size

__all__ = ["cross_entropy"]

_ROWS_PER_BLOCK = 4  # as in kernels/cross_entropy.cu


class CrossEntropy(Op):
    """Cross entropy between logits and class indices: log-softmax and negative log-likelihood in one.

        loss[n] = log(sum_c exp(x[n, c])) - x[n, target[n]]
        gx[n, c] = (softmax(x[n])[c] - [c == target[n]]) * scale

    where "mean" averages over n (scale 1/N), "sum" adds up and "none" keeps one loss per row (scale 1).

    Args:
        x: (N, C) logits, any float dtype.
        target: (N,) int64, class indices in [0, C).
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d array, or (N,) for "none"; dtype of x. `forward` returns (loss, log_sum_exp).

    Raises:
        ShapeError: x is not (N, C) or target is not (N,).
        DTypeError: x is not floating-point, or target is not int64.
        IndexError: a class index is out of range. On a GPU it is raised by the next read from the device, and
            optimizers leave the weights as they were.

    Memory: the gradient reads x, target and one value per row; probabilities are never stored.

    Example:
        >>> float(cross_entropy(np.zeros((2, 4)), np.array([0, 3])).round(4))
        1.3863
    """

    name, inputs, outputs = "cross_entropy", ("x", "target"), ("loss",)
    extras, saves, gradients = ("log_sum_exp",), ("x", "target", "log_sum_exp"), ("x",)
    axes = {"x": "NC", "target": "N"}

    def bind(
        self, x: Array, target: Array, reduction: Reduction = "mean"
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        return (x, target), {"reduction": check_reduction(self.name, reduction)}

    def infer(self, x: Array, target: Array, *, reduction: Reduction) -> tuple[Out, Out]:
        self.require_floats(x=x)
        if x.ndim != 2 or target.shape != x.shape[:1] or x.shape[1] < 1:
            raise self.error(
                ShapeError,
                "the logits and the class indices do not match.",
                expected="x (N, C) and target (N,)",
                hint="one class index per row, not one-hot rows" if target.ndim == 2 else "",
                x=x,
                target=target,
            )
        if target.dtype != np.int64:
            raise self.error(
                DTypeError,
                "class indices have a wrong dtype.",
                expected=f"int64, got {target.dtype}",
                hint='target.astype("int64")',
                target=target,
            )
        if not of(x).uses_kernels and target.size and not 0 <= target.min() <= target.max() < x.shape[1]:
            raise self.out_of_range(x.shape[1], f", got {target.min()} to {target.max()}")
        return Out(() if reduction != "none" else target.shape, x.dtype), Out(target.shape, accumulator(x.dtype))

    def out_of_range(self, classes: int, found: str = "") -> Any:
        """Return the error of a class index outside [0, classes)."""
        return self.error(IndexError, "a class index is out of range.", expected=f"0 <= target < C = {classes}{found}")

    def reference(
        self, be: Backend, loss: Array, log_sum_exp: Array, x: Array, target: Array, *, reduction: Reduction
    ) -> None:
        xp = be.xp
        largest = xp.max(x, axis=1)
        log_sum_exp[...] = xp.log(xp.sum(xp.exp(x - largest[:, None]), axis=1)) + largest
        rows = log_sum_exp - xp.take_along_axis(x, target[:, None], axis=1)[:, 0]
        loss[...] = rows if reduction == "none" else xp.sum(rows) * _scale(x, reduction)

    def cuda(
        self,
        be: KernelBackend,
        loss: Array,
        log_sum_exp: Array,
        x: Array,
        target: Array,
        *,
        reduction: Reduction,
    ) -> None:
        rows, classes = x.shape
        losses = loss if reduction == "none" else be.empty((rows,), accumulator(x.dtype))
        inputs = be.dense(x, CONTIGUOUS), be.dense(target, CONTIGUOUS)
        code = be.error_code(self.out_of_range(classes))
        args = (losses, log_sum_exp, *inputs, _scale(x, reduction), rows, classes, be.error_word, code)
        be.launch(
            "cross_entropy.cu",
            "cross_entropy_forward",
            blocks(rows, _ROWS_PER_BLOCK),
            128,
            args,
            REAL=x.dtype,
            OUT=losses.dtype,
        )
        if reduction == "mean" and not rows:
            be.fill(loss, float("nan"))
        elif reduction != "none":
            sum_to_size.cuda(be, loss, losses, size=())

    def infer_grad(self, gy: Array, x: Array, target: Array, log_sum_exp: Array, **attrs: Any) -> tuple[Any, Any]:
        loss, saved = self.infer(x, target, **attrs)
        self.require_saved(loss.shape, loss.dtype, gy=gy)
        self.require_saved(saved.shape, saved.dtype, log_sum_exp=log_sum_exp)
        return Out(x.shape, x.dtype), None

    def grad_reference(
        self,
        be: Backend,
        gx: Array,
        _: None,
        gy: Array,
        x: Array,
        target: Array,
        log_sum_exp: Array,
        *,
        reduction: Reduction,
    ) -> None:
        xp = be.xp
        classes = xp.arange(x.shape[1])
        one_hot = (classes == target[:, None]).astype(x.dtype)
        softmax = xp.exp(x - log_sum_exp[:, None])
        gx[...] = (softmax - one_hot) * (gy.reshape(-1, 1) * _scale(x, reduction))

    def grad_cuda(
        self,
        be: KernelBackend,
        gx: Array,
        _: None,
        gy: Array,
        x: Array,
        target: Array,
        log_sum_exp: Array,
        *,
        reduction: Reduction,
    ) -> None:
        rows, classes = x.shape
        arrays = [be.dense(a, CONTIGUOUS) for a in (gy, x, target, log_sum_exp)]
        args = (gx, *arrays, _scale(x, reduction), rows, classes, int(reduction == "none"))
        be.launch(
            "cross_entropy.cu",
            "cross_entropy_backward",
            blocks(rows, _ROWS_PER_BLOCK),
            128,
            args,
            REAL=x.dtype,
            OUT=x.dtype,
        )


def _scale(x: Array, reduction: Reduction) -> float:
    """Return what each row's loss is multiplied with; the mean of no rows is NaN, as in PyTorch."""
    if reduction != "mean":
        return 1.0
    return 1.0 / x.shape[0] if x.shape[0] else float("nan")


cross_entropy = CrossEntropy()
