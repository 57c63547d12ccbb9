"""Optimizer steps over flat buffers: ops that change their inputs and have no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, Backend, blas
from gpunet.backend.dtypes import accumulator
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.errors import ShapeError
from gpunet.ops.base import Op

__all__ = ["sgd_step"]


class SGDStep(Op):
    """One step of stochastic gradient descent with momentum, in place, in one launch.

        g = grad + weight_decay * param                     (-grad if maximize)
        m = momentum * m + (1 - dampening) * g              (m = g where it is fresh)
        param -= lr * (g + momentum * m if nesterov else m)

    Args:
        param: (size,) of any float dtype, changed in place.
        grad: (size,), dtype of param.
        momentum_buffer: (size,), dtype of param, changed in place; None for momentum 0.
        chunks: (n, 3) int64, rows (start, length, fresh): the runs of elements to change, without overlap;
            fresh is 1 where momentum_buffer was never written.
        lr: (1,), float64 for a float64 param, else float32: on the device, so that a captured step can change it.
        momentum, dampening, weight_decay, nesterov, maximize: as in torch.optim.SGD.

    Raises:
        ShapeError: the buffers differ in size.
        DTypeError: the dtypes differ or are not floating-point.

    Source: Polyak 1964; Nesterov 1983; Sutskever et al. 2013.

    Example:
        >>> param = np.ones(2)
        >>> sgd_step(param, np.array([1.0, 2.0]), None, np.array([[0, 2, 0]]), np.array([0.5]))
        >>> param
        array([0.5, 0. ])
    """

    name, inputs = "sgd_step", ("param", "grad", "momentum_buffer", "chunks", "lr")
    optional, outputs, mutates = ("momentum_buffer",), (), ("param", "momentum_buffer")
    # Implementations unpack the settings in the order in which `bind` names them.

    def bind(
        self,
        param: Array,
        grad: Array,
        momentum_buffer: Array | None,
        chunks: Array,
        lr: Array,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        attrs = {
            "momentum": float(momentum),
            "dampening": float(dampening),
            "weight_decay": float(weight_decay),
            "nesterov": bool(nesterov),
            "maximize": bool(maximize),
        }
        return (param, grad, momentum_buffer, chunks, lr), attrs

    def infer(
        self, param: Array, grad: Array, momentum_buffer: Array | None, chunks: Array, lr: Array, **attrs: Any
    ) -> tuple[()]:
        self.require_floats(param=param, grad=grad, momentum_buffer=momentum_buffer)
        self.require_saved((1,), accumulator(param.dtype), lr=lr)
        buffers = [a for a in (param, grad, momentum_buffer) if a is not None]
        if any(a.shape != (param.size,) for a in buffers) or chunks.shape[1:] != (3,):
            raise self.error(
                ShapeError,
                "the buffers do not match.",
                expected="param, grad, momentum_buffer (size,), chunks (n, 3), lr (1,)",
                param=param,
                grad=grad,
                momentum_buffer=momentum_buffer,
                chunks=chunks,
                lr=lr,
            )
        return ()

    def reference(
        self,
        be: Backend,
        param: Array,
        grad: Array,
        momentum_buffer: Array | None,
        chunks: Array,
        lr: Array,
        **settings: Any,
    ) -> None:
        momentum, dampening, weight_decay, nesterov, maximize = settings.values()
        for start, length, fresh in be.to_numpy(chunks).tolist():
            part = slice(start, start + length)
            step = (-grad[part] if maximize else grad[part]) + weight_decay * param[part]
            if momentum_buffer is not None:
                velocity = step if fresh else momentum * momentum_buffer[part] + (1 - dampening) * step
                momentum_buffer[part] = velocity
                step = step + momentum * velocity if nesterov else velocity
            param[part] = param[part] - lr * step

    def cpu(
        self,
        be: Backend,
        param: Array,
        grad: Array,
        momentum_buffer: Array | None,
        chunks: Array,
        lr: Array,
        **settings: Any,
    ) -> None:
        momentum, dampening, weight_decay, nesterov, maximize = settings.values()
        rows = chunks.tolist()

        def update(task: int) -> None:
            start, length, fresh = rows[task]
            part = slice(start, start + length)
            p, step = param[part], np.multiply(grad[part], -1 if maximize else 1)
            if weight_decay:
                step += weight_decay * p
            if momentum_buffer is not None:
                velocity = momentum_buffer[part]
                if fresh:
                    np.copyto(velocity, step)
                else:
                    velocity *= momentum
                    velocity += step if dampening == 0 else (1 - dampening) * step
                step = step + momentum * velocity if nesterov else velocity
            p -= lr * step

        blas.parallel(len(rows), update)

    def cuda(
        self,
        be: KernelBackend,
        param: Array,
        grad: Array,
        momentum_buffer: Array | None,
        chunks: Array,
        lr: Array,
        **settings: Any,
    ) -> None:
        *floats, nesterov, maximize = settings.values()
        args = (
            param,
            grad,
            momentum_buffer,
            chunks,
            lr,
            *floats,
            int(nesterov),
            int(maximize),
            param.size,
            be.error_word,
        )
        be.launch("optim.cu", "sgd_step", chunks.shape[0], 256, args, REAL=param.dtype)


sgd_step = SGDStep()
