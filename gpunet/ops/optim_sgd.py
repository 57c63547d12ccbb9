"""Stochastic gradient descent with momentum: one step over flat buffers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, Backend, blas, scratch
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops.optim import OptimizerStep

__all__ = ["sgd_step"]


class SGDStep(OptimizerStep):
    """One step of stochastic gradient descent with momentum, in place, in one launch.

        g = grad + weight_decay * param                     (-grad + ... if maximize)
        m = momentum * m + (1 - dampening) * g              (m = g in the first step of a chunk)
        param -= lr * (g + momentum * m if nesterov else m)

    Args:
        param: (size,) of any float dtype, changed in place.
        grad: (size,), dtype of param.
        momentum_buffer: (size,), float64 for a float64 param, else float32; changed in place. None for momentum 0.
        steps: (counters,) int64, changed in place: how often momentum_buffer was written; not read without one.
        chunks: (n, 3) int64, rows (start, length, counter): the runs of elements to change, without overlap, and the
            place in `steps` where each of them counts, no two in one place. What lies outside the buffers is left out.
        lr: (1,), dtype of momentum_buffer: on the device, so that a captured step can change it.
        momentum, dampening, weight_decay, nesterov, maximize: as in torch.optim.SGD.

    Raises:
        ShapeError: the buffers differ in size.
        DTypeError: the dtypes do not match or are not floating-point.
        ValueError: what is changed in place is read-only.

    Memory: momentum is kept in float32 for 16-bit params, where PyTorch keeps it in theirs.
    Source: Polyak 1964; Nesterov 1983; Sutskever et al. 2013.

    Example:
        >>> param, chunks = np.ones(2), np.array([[0, 2, 0]])
        >>> sgd_step(param, np.array([1.0, 2.0]), None, np.zeros(1, np.int64), chunks, np.array([0.5]))
        >>> param
        array([0.5, 0. ])
    """

    name, state, optional = "sgd_step", ("momentum_buffer",), ("momentum_buffer",)
    # Implementations unpack the settings in the order in which `bind` names them.

    def bind(
        self,
        param: Array,
        grad: Array,
        momentum_buffer: Array | None,
        steps: Array,
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
        return (param, grad, momentum_buffer, steps, chunks, lr), attrs

    def reference(self, be: Backend, *arrays: Any, **settings: Any) -> None:
        param, grad, momentum_buffer, steps, chunks, lr = arrays
        momentum, dampening, weight_decay, nesterov, maximize = settings.values()
        for part, counter in self.rows(be, param, steps, chunks):
            step = (-grad[part] if maximize else grad[part]) + weight_decay * param[part]
            if momentum_buffer is not None:
                fresh = int(steps[counter]) == 0
                velocity = step if fresh else momentum * momentum_buffer[part] + (1 - dampening) * step
                steps[counter] += 1
                momentum_buffer[part] = velocity
                step = step + momentum * velocity if nesterov else velocity
            param[part] = param[part] - lr * step

    def cpu(self, be: Backend, *arrays: Any, **settings: Any) -> None:
        param, grad, momentum_buffer, steps, chunks, lr = arrays
        momentum, dampening, weight_decay, nesterov, maximize = settings.values()
        runs, counters = self.runs(be, param, steps, chunks)
        rate = float(lr[0])

        def update(task: int) -> None:
            part, count = runs[task]
            p, step = param[part], grad[part]
            gradient, term = scratch.get("sgd", (2, *p.shape), p.dtype)
            if weight_decay:
                np.multiply(p, weight_decay, out=gradient)
                step = (np.subtract if maximize else np.add)(gradient, step, out=gradient)
            elif maximize:
                step = np.negative(step, out=gradient)
            if momentum_buffer is not None:
                velocity = momentum_buffer[part]
                if count == 0:
                    np.copyto(velocity, step)
                else:
                    velocity *= momentum
                    velocity += step if dampening == 0 else np.multiply(step, 1 - dampening, out=term)
                if nesterov:
                    np.multiply(velocity, momentum, out=term)
                step = np.add(step, term, out=term) if nesterov else velocity
            p -= np.multiply(step, rate, out=term)

        blas.parallel(len(runs), update)
        if momentum_buffer is not None:
            steps[counters] += 1

    def cuda(self, be: KernelBackend, *arrays: Any, **settings: Any) -> None:
        self.launch(be, arrays, settings)


sgd_step = SGDStep()
