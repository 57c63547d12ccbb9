"""Linear layers: a matrix product with bias, through our own GEMM on CUDA."""

from __future__ import annotations

import math
from typing import Any

from gpunet.backend import CONTIGUOUS, Array, Backend, blas
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import ShapeError
from gpunet.ops import arguments
from gpunet.ops.base import Op, Out
from gpunet.ops.elementwise import clip_at_zero
from gpunet.ops.gemm import gemm
from gpunet.ops.reduce import sum_to_channels

__all__ = ["linear"]


class Linear(Op):
    """Affine map of the last axis.

        y[..., o] = b[o] + sum_i x[..., i] * w[o, i]

    Args:
        x: (..., in_features), any float dtype.
        w: (out_features, in_features), dtype of x.
        b: (out_features,), or None for no bias.
        allow_tf32: on a GPU, round float32 factors to TF32 (10 bits of mantissa) for tensor cores; sums stay float32.
        activation: "relu" clips y in the same pass, with the bits of `relu(y)`; gradients then go through `relu.grad`
            first, and through this op without an activation.

    Returns:
        (..., out_features), dtype of x, contiguous.

    Raises:
        ShapeError: the features do not match.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: the gradient reads x and w.

    Example:
        >>> linear(np.ones((2, 3)), np.ones((4, 3)), np.zeros(4)).shape
        (2, 4)
    """

    name, inputs, optional, saves = "linear", ("x", "w", "b"), ("b",), ("x", "w")
    gradients = inputs
    axes = {"x": "ND", "w": "OD", "b": "O", "gy": "NO"}

    def bind(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        allow_tf32: bool = False,
        activation: str | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        activation = arguments.activation(self.__name__, activation)
        return (x, w, b), {"allow_tf32": bool(allow_tf32), "activation": activation}

    def infer(self, x: Array, w: Array, b: Array | None, **attrs: Any) -> tuple[Out]:
        self.require_floats(x=x, w=w, b=b)
        if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[1]:
            features = x.shape[-1] if x.ndim else "none"
            raise self.error(
                ShapeError,
                "the input's features do not match the weight.",
                expected=f"x (..., D) and w (O, D), got D={features} and w {w.shape}",
                hint=f"build nn.Linear(in_features={features}, ...), or flatten x first",
                x=x,
                w=w,
            )
        if b is not None and b.shape != w.shape[:1]:
            raise self.error(ShapeError, "the bias does not match the weight.", expected="(O,)", w=w, b=b)
        return (Out((*x.shape[:-1], w.shape[0]), x.dtype),)

    def reference(
        self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, *, activation: str | None, **attrs: Any
    ) -> None:
        y[...] = be.xp.sum(x[..., None, :] * w, axis=-1)
        if b is not None:
            y[...] = y + b
        if activation:
            y[...] = be.xp.maximum(y, 0)

    def cpu(
        self, be: Backend, y: Array, x: Array, w: Array, b: Array | None, *, activation: str | None, **attrs: Any
    ) -> None:
        blas.matmul(_rows(be, x), w.T, out=_rows(be, y))
        if b is not None:
            y += b
        if activation:
            clip_at_zero(y)

    def cuda(self, be: KernelBackend, y: Array, x: Array, w: Array, b: Array | None, **attrs: Any) -> None:
        bias, relu = None if b is None else be.dense(b, CONTIGUOUS), attrs["activation"] == "relu"
        gemm(be, _rows(be, y), _rows(be, x), w.T, bias, attrs["allow_tf32"], relu)

    def infer_grad(self, gy: Array, x: Array, w: Array, **attrs: Any) -> tuple[Out, Out, Out]:
        arguments.refuse_activation(self.__name__, attrs["activation"])
        expected = self.infer(x, w, None)[0]
        self.require_saved(expected.shape, expected.dtype, gy=gy)
        return Out(x.shape, x.dtype), Out(w.shape, w.dtype), Out(w.shape[:1], w.dtype)

    def grad_reference(
        self, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any
    ) -> None:
        rows, gradient = _matrix(x), _matrix(gy)
        if gx is not None:
            gx[...] = be.xp.sum(gy[..., None] * w, axis=-2)
        if gw is not None:
            gw[...] = be.xp.sum(gradient[:, :, None] * rows[:, None, :], axis=0)
        if gb is not None:
            gb[...] = be.xp.sum(gradient, axis=0)

    def grad_cpu(self, be: Backend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any) -> None:
        gradient, products = _rows(be, gy), []
        if gw is not None:
            products.append((gradient.T, _rows(be, x), gw))
        if gx is not None:
            products.append((gradient, w, _rows(be, gx)))
        blas.matmuls(*products)
        if gb is not None:
            gb[...] = blas.column_sums(gradient)

    def grad_cuda(
        self, be: KernelBackend, gx: Any, gw: Any, gb: Any, gy: Array, x: Array, w: Array, **attrs: Any
    ) -> None:
        gradient, allow_tf32 = _rows(be, gy), attrs["allow_tf32"]
        if gx is not None:
            gemm(be, _rows(be, gx), gradient, w, allow_tf32=allow_tf32)
        if gw is not None:
            gemm(be, gw, gradient.T, _rows(be, x), allow_tf32=allow_tf32)
        if gb is not None:
            sum_to_channels(be, gb, gradient)


def _matrix(array: Array) -> Array:
    """Return (rows, features)."""
    return array if array.ndim == 2 else array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _rows(be: Backend, array: Array) -> Array:
    """View an array as dense (rows, features)."""
    return _matrix(be.dense(array, CONTIGUOUS))


linear = Linear()
