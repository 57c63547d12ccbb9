"""Losses that compare element by element, reduced in the same pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from gpunet.backend import CONTIGUOUS, Array, Backend, Layout, layout_of
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend, blocks, vector_blocks
from gpunet.errors import ShapeError
from gpunet.ops.base import Op, Out, like
from gpunet.ops.reduce import sum_to_size

__all__ = ["Reduction", "binary_cross_entropy_with_logits", "check_reduction", "l1_loss", "mse_loss"]

Reduction = Literal["mean", "sum", "none"]
_PER_BLOCK = 2048  # as in kernels/loss.cu


class Loss(Op):
    """Base of losses of x and a target of one shape: a subclass is two formulas, and two kernels that say the same.

    Attributes:
        formula: (xp, *inputs) returns the loss of each element.
        slope: (xp, *inputs) returns its derivative by x; that by the target, where there is one, is the negative.

    The kernels `<name>_forward` and `<name>_backward` take the inputs, expanded to the shape of x.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "target")
    outputs: ClassVar[tuple[str, ...]] = ("loss",)
    saves: ClassVar[tuple[str, ...]] = ("x", "target")
    gradients: ClassVar[tuple[str, ...]] = ("x", "target")
    formula: Callable[..., Array]
    slope: Callable[..., Array]

    def bind(self, x: Array, target: Array, reduction: Reduction = "mean") -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (x, target), {"reduction": check_reduction(self.name, reduction)}

    def infer(self, *inputs: Array, reduction: Reduction) -> tuple[Out]:
        named = dict(zip(self.inputs, inputs, strict=True))
        self.require_floats(**named)
        x, target = inputs[:2]
        if x.shape != target.shape:
            raise self.error(
                ShapeError,
                "x and the target have different shapes.",
                expected="one shape; losses do not broadcast",
                hint="x.reshape(target.shape)" if x.size == target.size else "",
                **named,
            )
        return (like(x) if reduction == "none" else Out((), x.dtype),)

    def reference(self, be: Backend, loss: Array, *inputs: Array, reduction: Reduction) -> None:
        each = self.formula(be.xp, *inputs)
        loss[...] = each if reduction == "none" else be.xp.sum(each) * _scale(inputs[0], reduction)

    def cuda(self, be: KernelBackend, loss: Array, *inputs: Array, reduction: Reduction) -> None:
        x = inputs[0]
        each, sums = loss, None
        if reduction != "none":
            each, sums = None, be.empty((blocks(x.size, _PER_BLOCK),), accumulator(x.dtype))
        read = _expand(be, layout_of(x) or CONTIGUOUS, *inputs)
        args = (each, sums, *read, _scale(x, reduction), x.size)
        be.launch("loss.cu", f"{self.name}_forward", blocks(x.size, _PER_BLOCK), 256, args, REAL=x.dtype)
        if reduction == "mean" and not x.size:
            be.fill(loss, float("nan"))
        elif reduction != "none":
            sum_to_size.cuda(be, loss, sums, size=())

    def infer_grad(self, gy: Array, *inputs: Array, reduction: Reduction) -> tuple[Out | None, ...]:
        (loss,) = self.infer(*inputs, reduction=reduction)
        self.require_saved(loss.shape, loss.dtype, gy=gy)
        gradient = like(inputs[0])
        return tuple(gradient if name in self.gradients else None for name in self.inputs)

    def grad_reference(self, be: Backend, *arrays: Array, reduction: Reduction) -> None:
        (gx, gtarget, *_), (gy, *inputs) = self._split(arrays)
        gradient = self.slope(be.xp, *inputs) * (gy * _scale(inputs[0], reduction))
        if gx is not None:
            gx[...] = gradient
        if gtarget is not None:
            gtarget[...] = -gradient

    def grad_cuda(self, be: KernelBackend, *arrays: Array, reduction: Reduction) -> None:
        (gx, gtarget, *_), (gy, *inputs) = self._split(arrays)
        x, layout = inputs[0], layout_of(gtarget if gx is None else gx) or CONTIGUOUS
        with be.dense_output(gtarget, layout) as dense_gtarget:
            outs = (gx, dense_gtarget) if "target" in self.gradients else (gx,)
            read = (be.dense(gy, layout), *_expand(be, layout, *inputs))
            args = (*outs, *read, _scale(x, reduction), x.size, int(reduction == "none"))
            be.launch("loss.cu", f"{self.name}_backward", vector_blocks(x), 256, args, REAL=x.dtype)

    def _split(self, arrays: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Return the gradients to fill, and what they are made from."""
        return arrays[: len(self.inputs)], arrays[len(self.inputs) :]


class L1Loss(Loss):
    """Absolute error, also called L1 loss.

        loss[i] = |x[i] - target[i]|
        gx[i] = sign(x[i] - target[i]) * gy * scale,  gtarget = -gx

    where "mean" averages over all elements (scale 1/size), "sum" adds up and "none" keeps one loss per element. The
    gradient is 0 where both are equal, and so it is where one is NaN, as in PyTorch.

    Args:
        x: predictions, any shape, any float dtype.
        target: shape and dtype of x.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d array, or the shape and layout of x for "none"; dtype of x.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient reads x and the target; nothing else is stored.

    Example:
        >>> float(l1_loss(np.array([1.0, 5.0]), np.array([2.0, 2.0])))
        2.0
    """

    name = "l1_loss"

    def formula(self, xp: Any, x: Array, target: Array) -> Array:
        return abs(x - target)

    def slope(self, xp: Any, x: Array, target: Array) -> Array:
        return (x > target).astype(x.dtype) - (x < target).astype(x.dtype)


class MSELoss(Loss):
    """Squared error, also called L2 loss.

        loss[i] = (x[i] - target[i])**2
        gx[i] = 2 * (x[i] - target[i]) * gy * scale,  gtarget = -gx

    where "mean" averages over all elements (scale 1/size), "sum" adds up and "none" keeps one loss per element.

    Args:
        x: predictions, any shape, any float dtype.
        target: shape and dtype of x.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d array, or the shape and layout of x for "none"; dtype of x.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient reads x and the target; nothing else is stored.

    Example:
        >>> float(mse_loss(np.array([1.0, 5.0]), np.array([2.0, 2.0])))
        5.0
    """

    name = "mse_loss"

    def formula(self, xp: Any, x: Array, target: Array) -> Array:
        error = x - target
        return error * error

    def slope(self, xp: Any, x: Array, target: Array) -> Array:
        return 2 * (x - target)


class BinaryCrossEntropyWithLogits(Loss):
    """Cross entropy of yes-or-no questions: sigmoid and negative log-likelihood in one.

        loss[i] = -weight * (pos_weight * t * log(sigmoid(x[i])) + (1 - t) * log(1 - sigmoid(x[i]))),  t = target[i]
        gx[i] = weight * ((pos_weight * t + 1 - t) * sigmoid(x[i]) - pos_weight * t) * gy * scale

    where "mean" averages over all elements (scale 1/size), whatever their weights, "sum" adds up and "none" keeps one
    loss per element. It stays finite for logits of any size. The target has no gradient here.

    Args:
        x: logits, any shape, any float dtype.
        target: probabilities of yes, in [0, 1]; shape and dtype of x.
        weight: of each loss; a shape that broadcasts to that of x, dtype of x.
        pos_weight: weight of yes against no, per class for example; a shape that broadcasts to that of x, dtype of x.
        reduction: "mean", "sum" or "none".

    Returns:
        A 0-d array, or the shape and layout of x for "none"; dtype of x.

    Raises:
        ShapeError: the target has another shape than x, or a weight does not broadcast to it.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient reads the inputs; probabilities are never stored. On a GPU, weights smaller than x are
        expanded to its shape for the time of the call.

    Example:
        >>> float(binary_cross_entropy_with_logits(np.array([0.0, 0.0]), np.array([0.0, 1.0])).round(4))
        0.6931
    """

    name, inputs = "binary_cross_entropy_with_logits", ("x", "target", "weight", "pos_weight")
    optional, saves, gradients = ("weight", "pos_weight"), inputs, ("x",)

    def bind(  # type: ignore[override]
        self,
        x: Array,
        target: Array,
        weight: Array | None = None,
        pos_weight: Array | None = None,
        reduction: Reduction = "mean",
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (x, target, weight, pos_weight), {"reduction": check_reduction(self.name, reduction)}

    def infer(self, *inputs: Array, reduction: Reduction) -> tuple[Out]:
        x, _, *weights = inputs
        if any(w is not None and not _broadcasts(w.shape, x.shape) for w in weights):
            raise self.error(
                ShapeError,
                "a weight does not broadcast to the logits.",
                expected="axes, counted from the last, that are 1 or those of x",
                **dict(zip(self.inputs, inputs, strict=True)),
            )
        return super().infer(*inputs, reduction=reduction)

    def formula(self, xp: Any, x: Array, target: Array, weight: Array | None, pos_weight: Array | None) -> Array:
        yes, no = target if pos_weight is None else pos_weight * target, 1 - target
        softplus = xp.maximum(-x, 0) + xp.log1p(xp.exp(-abs(x)))  # log(1 + exp(-x)), without overflow
        loss = no * x + (yes + no) * softplus
        return loss if weight is None else weight * loss

    def slope(self, xp: Any, x: Array, target: Array, weight: Array | None, pos_weight: Array | None) -> Array:
        yes, no = target if pos_weight is None else pos_weight * target, 1 - target
        sigmoid = xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-abs(x)))
        slope = (yes + no) * sigmoid - yes
        return slope if weight is None else weight * slope


def check_reduction(name: str, reduction: Reduction) -> Reduction:
    """Return the reduction, or raise ValueError for one that does not exist."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    return reduction


def _scale(x: Array, reduction: Reduction) -> float:
    """Return what each loss is multiplied with; the mean of nothing is NaN, as in PyTorch."""
    if reduction != "mean":
        return 1.0
    return 1.0 / x.size if x.size else float("nan")


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Say whether an array broadcasts to a shape."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def _expand(be: KernelBackend, layout: Layout, *inputs: Array) -> list[Array]:
    """Return the inputs dense in one layout, each of the first one's shape."""
    return [None if a is None else be.dense(be.xp.broadcast_to(a, inputs[0].shape), layout) for a in inputs]


l1_loss = L1Loss()
mse_loss = MSELoss()
binary_cross_entropy_with_logits = BinaryCrossEntropyWithLogits()
