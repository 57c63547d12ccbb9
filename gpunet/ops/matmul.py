"""Matrix products of vectors, matrices and batches of matrices, through our own GEMM on CUDA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import CONTIGUOUS, Array, Backend, blas
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.backend.layout import is_dense
from gpunet.errors import ShapeError
from gpunet.ops.base import Op, Out
from gpunet.ops.gemm import gemm, transposed
from gpunet.ops.reduce import sum_to_size

__all__ = ["matmul"]

Product = Callable[[Any, Array, Array, Array], None]  # (be, c, a, b): c = a @ b


class MatMul(Op):
    """Matrix product of vectors, matrices, or batches of matrices.

        y[..., m, n] = sum_k a[..., m, k] * b[..., k, n]

    A vector a counts as a row and a vector b as a column, whose axis the result does not have. Batch axes broadcast.

    Args:
        a: (K,) or (..., M, K), any float dtype.
        b: (K,) or (..., K, N), dtype of a.
        allow_tf32: on a GPU, round float32 factors to TF32 (10 bits of mantissa) for tensor cores; sums stay float32.

    Returns:
        (..., M, N), without M or N where an operand is a vector; dtype of a, contiguous.

    Raises:
        ShapeError: an operand has no axes, K differs, or the batch axes do not broadcast.
        DTypeError: the dtypes differ or are not floating-point.

    Memory: operands whose rows or columns have no gaps are read in place, transposed ones too; on a GPU, kernels with
        tiles copy those whose rows do not begin at multiples of 16 bytes, and the smaller one if both are transposed.
        The gradient reads a and b. That of an operand that was broadcast takes memory for one gradient per matrix of
        the batch, which are then summed in order; but for one matrix b and contiguous a, it is one product.

    Example:
        >>> matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
        (5, 2, 4)
    """

    name, inputs, gradients, saves = "matmul", ("a", "b"), ("a", "b"), ("a", "b")
    axes = {"a": "MK", "b": "KN"}

    def bind(self, a: Array, b: Array, *, allow_tf32: bool = False) -> tuple[tuple[Array, Array], dict[str, Any]]:
        return (a, b), {"allow_tf32": bool(allow_tf32)}

    def infer(self, a: Array, b: Array, **attrs: Any) -> tuple[Out]:
        self.require_floats(a=a, b=b)
        if not a.ndim or not b.ndim:
            expected, hint = "at least one axis each", "ops.mul multiplies by a number"
            raise self.error(ShapeError, "an operand has no axes.", expected=expected, hint=hint, a=a, b=b)
        if a.shape[-1] != b.shape[-2:][0]:
            expected = f"a (..., M, K) and b (..., K, N), got K={a.shape[-1]} and K={b.shape[-2:][0]}"
            raise self.error(ShapeError, "the operands do not fit.", expected=expected, a=a, b=b)
        try:
            batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            expected = "axes before the last two, counted from the last, that are equal or 1"
            raise self.error(ShapeError, "the batches do not broadcast.", expected=expected, a=a, b=b) from None
        return (Out((*batch, *a.shape[-2:-1], *b.shape[-1:][: b.ndim - 1]), a.dtype),)

    def reference(self, be: Backend, y: Array, a: Array, b: Array, **attrs: Any) -> None:
        _forward(be, _sum_of_products, y, a, b)

    def cpu(self, be: Backend, y: Array, a: Array, b: Array, **attrs: Any) -> None:
        _forward(be, _by_blas, y, a, b)

    def cuda(self, be: KernelBackend, y: Array, a: Array, b: Array, *, allow_tf32: bool) -> None:
        _forward(be, _by_gemm(allow_tf32), y, a, b)

    def infer_grad(self, gy: Array, a: Array, b: Array, **attrs: Any) -> tuple[Out, Out]:
        expected = self.infer(a, b)[0]
        self.require_saved(expected.shape, expected.dtype, gy=gy)
        return Out(a.shape, a.dtype), Out(b.shape, b.dtype)

    def grad_reference(self, be: Backend, *arrays: Array, **attrs: Any) -> None:
        _backward(be, _sum_of_products, *arrays)

    def grad_cpu(self, be: Backend, *arrays: Array, **attrs: Any) -> None:
        _backward(be, _by_blas, *arrays)

    def grad_cuda(self, be: KernelBackend, *arrays: Array, allow_tf32: bool) -> None:
        _backward(be, _by_gemm(allow_tf32), *arrays)


def _sum_of_products(be: Any, c: Array, a: Array, b: Array) -> None:
    c[...] = be.xp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _by_blas(be: Any, c: Array, a: Array, b: Array) -> None:
    blas.batched_matmul(_readable(be, a), _readable(be, b), c)


def _readable(be: Backend, x: Array) -> Array:
    """Return a batch that BLAS reads in place, its rows or columns one behind the other, else a dense copy."""
    for view in (x, transposed(x)):
        if be.has_rows(view, view.itemsize) and view.strides[-2] >= view.shape[-1] * view.itemsize:
            return x
    return be.dense(x, CONTIGUOUS)


def _by_gemm(allow_tf32: bool) -> Product:
    return lambda be, c, a, b: gemm(be, c, a, b, allow_tf32=allow_tf32)


def _forward(be: Backend, product: Product, y: Array, a: Array, b: Array) -> None:
    product(be, *_matrices(y, a, b))


def _backward(be: Backend, product: Product, ga: Any, gb: Any, gy: Array, a: Array, b: Array) -> None:
    """ga = gy @ b^T and gb = a^T @ gy, summed over the axes along which an operand was broadcast."""
    gy, a, b = _matrices(be.dense(gy, CONTIGUOUS), a, b)
    if ga is not None:
        _summed(be, product, ga, a.shape, gy, transposed(b))
    if gb is not None:
        _summed(be, product, gb, b.shape, transposed(a), gy)


def _summed(be: Any, product: Product, out: Array, shape: tuple[int, ...], a: Array, b: Array) -> None:
    """Fill `out`, seen in that shape, with a product that may have more batch axes, or longer ones."""
    whole = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *shape[-2:])
    with be.dense_output(out, CONTIGUOUS) as dense:
        target = dense.reshape(shape)
        if whole == shape:
            product(be, target, a, b)
            return
        each = be.empty(whole, out.dtype)
        product(be, each, a, b)
        (sum_to_size.cuda if be.uses_kernels else sum_to_size.reference)(be, target, each, shape)


def _matrices(y: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """View contiguous y and the operands as matrices; a batch that only a has, without gaps, becomes rows of one."""
    a = a if a.ndim > 1 else a[None]
    b = b if b.ndim > 1 else b[:, None]
    if b.ndim == 2 and is_dense(a, CONTIGUOUS):
        a = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return y.reshape(a.shape[0], b.shape[1]), a, b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return y.reshape(*batch, a.shape[-2], b.shape[-1]), a, b


matmul = MatMul()
