"""The norm of gradients, and clipping: ops over flat buffers, or over any dense array seen as one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, Backend, blas
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops.arguments import require_writable
from gpunet.ops.base import Op, Out
from gpunet.ops.chunks import count_chunks, read_table

__all__ = ["clip_by_norm", "clip_by_value", "norm_partials", "norm_total"]


class _OnChunks(Op):
    """Base of the ops on chunks: x is (size,), chunks is an (n, 3) int64 table or None."""

    outputs, optional = (), ("chunks",)

    def require_chunks(self, x: Array, chunks: Array | None, **others: Array) -> None:
        self.require_floats(x=x)
        if chunks is not None and chunks.dtype != np.int64:
            problem, expected = "the table has the wrong dtype.", f"int64, got {chunks.dtype}"
            raise self.error(DTypeError, problem, expected=expected, chunks=chunks)
        if x.ndim != 1 or (chunks is not None and chunks.shape[1:] != (3,)):
            expected = "x (size,), and chunks (n, 3) or None"
            raise self.error(ShapeError, "the buffers do not match.", expected=expected, x=x, chunks=chunks)
        for name, other in others.items():
            if other.dtype != accumulator(x.dtype):
                problem, expected = f"{name} has the wrong dtype.", f"{accumulator(x.dtype)}, got {other.dtype}"
                raise self.error(DTypeError, problem, expected=expected, x=x, **{name: other})
        require_writable(self.__name__, **{n: a for n, a in {"x": x, **others}.items() if n in self.mutates})

    def launch(self, be: KernelBackend, x: Array, chunks: Array | None, *args: Any) -> None:
        grid = count_chunks(be, x.size, chunks)
        be.launch("clip.cu", self.__name__, grid, 256, (*args, x.size), REAL=x.dtype)


class NormPartials(_OnChunks):
    """Sum of the powers of each chunk: the first half of a norm, for `norm_total`.

        partials[i] = sum of |x[j]|^order over chunk i          (their maximum for an infinite order)

    Args:
        partials: (n,), float64 for a float64 x, else float32; overwritten.
        x: (size,) of any float dtype.
        chunks: (n, 3) int64, rows (start, length, counter), without overlap; the counter is not read. None cuts x into
            chunks of equal length: n is then gpunet.ops.chunks.count_chunks(backend, size, None).
        order: of the norm, > 0; may be infinite.

    Raises:
        ShapeError: x has not one axis, or partials not one element per chunk.
        DTypeError: the dtypes do not match or are not floating-point.
        ValueError: order is not > 0, or partials is read-only.

    Example:
        >>> partials = np.zeros(2)
        >>> norm_partials(partials, np.array([3.0, 4.0, 5.0]), np.array([[0, 2, 0], [2, 1, 1]]))
        >>> partials
        array([25., 25.])
    """

    name, inputs, mutates = "norm_partials", ("partials", "x", "chunks"), ("partials",)

    def bind(
        self, partials: Array, x: Array, chunks: Array | None = None, order: float = 2.0
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (partials, x, chunks), {"order": _checked(order, self.__name__)}

    def infer(self, partials: Array, x: Array, chunks: Array | None, order: float) -> tuple[()]:
        self.require_chunks(x, chunks, partials=partials)
        count = count_chunks(self._backend((partials, x, chunks)), x.size, chunks)
        if partials.shape != (count,):
            expected = f"partials ({count},), one element per chunk"
            raise self.error(ShapeError, "the buffers do not match.", expected=expected, partials=partials, x=x)
        return ()

    def reference(self, be: Backend, partials: Array, x: Array, chunks: Array | None, order: float) -> None:
        for i, (part, _) in enumerate(read_table(be, x.size, chunks)):
            partials[i] = _sum_of_powers(be.xp, x[part], order)

    def cpu(self, be: Backend, partials: Array, x: Array, chunks: Array | None, order: float) -> None:
        table = read_table(be, x.size, chunks)

        def work(task: int) -> None:
            with np.errstate(all="ignore"):  # what overflows becomes infinite, as in kernels
                partials[task] = _sum_of_powers(np, x[table[task][0]], order)

        blas.parallel(len(table), work)

    def cuda(self, be: KernelBackend, partials: Array, x: Array, chunks: Array | None, order: float) -> None:
        self.launch(be, x, chunks, partials, x, chunks, order)


class NormTotal(Op):
    """Norm from the sums of powers of its parts: the second half, after `norm_partials`.

        y = (sum of partials)^(1/order)          (their maximum for an infinite order)

    Args:
        partials: (n,), any float dtype; n may be 0.
        order: of the norm, > 0; may be infinite.

    Returns:
        Shape (), dtype of partials.

    Raises:
        ShapeError: partials has not one axis.
        DTypeError: partials is not floating-point.
        ValueError: order is not > 0.

    Example:
        >>> norm_total(np.array([9.0, 16.0]))
        array(5.)
    """

    name, inputs = "norm_total", ("partials",)

    def bind(self, partials: Array, order: float = 2.0) -> tuple[tuple[Array], dict[str, Any]]:
        return (partials,), {"order": _checked(order, self.__name__)}

    def infer(self, partials: Array, order: float) -> tuple[Out]:
        self.require_floats(partials=partials)
        if partials.ndim != 1:
            raise self.error(ShapeError, "wrong number of axes.", expected="partials (n,)", partials=partials)
        return (Out((), partials.dtype),)

    def reference(self, be: Backend, y: Array, partials: Array, order: float) -> None:
        joined = _sum_of_powers(be.xp, partials, order if np.isinf(order) else 1.0)
        y[...] = joined if np.isinf(order) else joined ** (1 / order)

    def cuda(self, be: KernelBackend, y: Array, partials: Array, order: float) -> None:
        args = (y, be.dense(partials, "contiguous"), order, partials.size)
        be.launch("clip.cu", "norm_total", 1, 256, args, REAL=y.dtype)


class ClipByNorm(_OnChunks):
    """Scale in place, so that a norm that is too large becomes max_norm.

        x *= min(1, max_norm / (total + 1e-6))

    Args:
        x: (size,) of any float dtype, changed in place.
        total: (), the norm of everything that is clipped, from `norm_total`; float64 for a float64 x, else float32.
            Where it is NaN, x becomes NaN.
        chunks: as for `norm_partials`.
        max_norm: largest norm allowed, >= 0.

    Raises:
        ShapeError: x has not one axis, or total has.
        DTypeError: the dtypes do not match or are not floating-point.
        ValueError: max_norm is negative or NaN, or x is read-only.

    Source: Pascanu et al. 2013.

    Example:
        >>> x = np.array([3.0, 4.0])
        >>> clip_by_norm(x, np.array(5.0), max_norm=1.0)
        >>> x.round(3)
        array([0.6, 0.8])
    """

    name, inputs, mutates = "clip_by_norm", ("x", "total", "chunks"), ("x",)

    def bind(
        self, x: Array, total: Array, chunks: Array | None = None, max_norm: float = 1.0
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not max_norm >= 0:
            raise ValueError(f"{self.__name__}: max_norm must be >= 0, got {max_norm}")
        return (x, total, chunks), {"max_norm": float(max_norm)}

    def infer(self, x: Array, total: Array, chunks: Array | None, max_norm: float) -> tuple[()]:
        self.require_chunks(x, chunks, total=total)
        if total.shape != ():
            raise self.error(ShapeError, "the norm is no single number.", expected="total ()", total=total)
        return ()

    def reference(self, be: Backend, x: Array, total: Array, chunks: Array | None, max_norm: float) -> None:
        for part, _ in read_table(be, x.size, chunks):
            x[part] = x[part] * be.xp.minimum(max_norm / (total + 1e-6), 1)

    def cpu(self, be: Backend, x: Array, total: Array, chunks: Array | None, max_norm: float) -> None:
        factor = max_norm / (float(total) + 1e-6)
        table = [] if factor >= 1 else read_table(be, x.size, chunks)

        def work(task: int) -> None:
            with np.errstate(all="ignore"):
                x[table[task][0]] *= factor

        blas.parallel(len(table), work)

    def cuda(self, be: KernelBackend, x: Array, total: Array, chunks: Array | None, max_norm: float) -> None:
        self.launch(be, x, chunks, x, total, chunks, max_norm)


class ClipByValue(_OnChunks):
    """Move values into [-clip_value, clip_value], in place; NaN stays.

    Args:
        x: (size,) of any float dtype, changed in place.
        chunks: as for `norm_partials`.
        clip_value: largest absolute value allowed, >= 0.

    Raises:
        ShapeError: x has not one axis.
        DTypeError: x is not floating-point.
        ValueError: clip_value is negative or NaN, or x is read-only.

    Example:
        >>> x = np.array([-3.0, 0.5])
        >>> clip_by_value(x, None, 1.0)
        >>> x
        array([-1. ,  0.5])
    """

    name, inputs, mutates = "clip_by_value", ("x", "chunks"), ("x",)

    def bind(self, x: Array, chunks: Array | None, clip_value: float) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not clip_value >= 0:
            raise ValueError(f"{self.__name__}: clip_value must be >= 0, got {clip_value}")
        return (x, chunks), {"clip_value": float(clip_value)}

    def infer(self, x: Array, chunks: Array | None, clip_value: float) -> tuple[()]:
        self.require_chunks(x, chunks)
        return ()

    def reference(self, be: Backend, x: Array, chunks: Array | None, clip_value: float) -> None:
        for part, _ in read_table(be, x.size, chunks):
            x[part] = be.xp.minimum(be.xp.maximum(x[part], -clip_value), clip_value)

    def cuda(self, be: KernelBackend, x: Array, chunks: Array | None, clip_value: float) -> None:
        self.launch(be, x, chunks, x, chunks, clip_value)


def _checked(order: float, name: str) -> float:
    if not float(order) > 0:
        raise ValueError(f"{name}: the order of a norm must be > 0, got {order}")
    return float(order)


def _sum_of_powers(xp: Any, x: Array, order: float) -> Any:
    """Return the sum of |x|^order, or the maximum of |x| for an infinite order; 0 of nothing."""
    if x.size == 0:
        return 0
    size = xp.absolute(x)
    if np.isinf(order):
        return xp.max(size)
    return xp.sum(size if order == 1 else size * size if order == 2 else size**order)


norm_partials = NormPartials()
norm_total = NormTotal()
clip_by_norm = ClipByNorm()
clip_by_value = ClipByValue()
