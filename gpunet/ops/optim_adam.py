"""Adam and AdamW: one step over flat buffers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array, Backend, blas, scratch
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.ops.optim import OptimizerStep

__all__ = ["adam_step"]


class AdamStep(OptimizerStep):
    """One step of Adam, or of AdamW with decoupled weight decay, in place, in one launch.

        g = grad + weight_decay * param                     (-grad + ... if maximize)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        param -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    where m is exp_avg, v is exp_avg_sq, and t counts the steps of the chunk from 1. With decoupled_weight_decay, g is
    the gradient alone, and param is first multiplied by 1 - lr * weight_decay. With max_exp_avg_sq (AMSGrad), the last
    line takes the largest v so far.

    Args:
        param: (size,) of any float dtype, changed in place.
        grad: (size,), dtype of param.
        exp_avg, exp_avg_sq: (size,), float64 for a float64 param, else float32; changed in place.
        max_exp_avg_sq: likewise; None without AMSGrad.
        steps: (counters,) int64, changed in place: how many steps the chunk that counts there has seen.
        chunks: (n, 3) int64, rows (start, length, counter): the runs of elements to change, without overlap, and the
            place in `steps` where each of them counts, no two in one place. What lies outside the buffers is left out.
        lr: (1,), dtype of exp_avg: on the device, so that a captured step can change it.
        beta1, beta2, eps, weight_decay, decoupled_weight_decay, maximize: as in torch.optim.Adam.

    Raises:
        ShapeError: the buffers differ in size.
        DTypeError: the dtypes do not match or are not floating-point.
        ValueError: a beta is not in [0, 1), or what is changed in place is read-only.

    Memory: the state is float32 for 16-bit params, where PyTorch keeps it in theirs: there, an average that moves by a
    thousandth of itself would stand still.
    Source: Kingma and Ba 2015; Loshchilov and Hutter 2019 (AdamW); Reddi et al. 2018 (AMSGrad).

    Example:
        >>> param, m, v, steps = np.ones(1), np.zeros(1), np.zeros(1), np.zeros(1, np.int64)
        >>> adam_step(param, np.array([3.0]), m, v, None, steps, np.array([[0, 1, 0]]), np.array([0.25]))
        >>> param.round(6), steps
        (array([0.75]), array([1]))
    """

    name, state, optional = "adam_step", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), ("max_exp_avg_sq",)
    # Implementations unpack the settings in the order in which `bind` names them.

    def bind(
        self,
        param: Array,
        grad: Array,
        exp_avg: Array,
        exp_avg_sq: Array,
        max_exp_avg_sq: Array | None,
        steps: Array,
        chunks: Array,
        lr: Array,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{self.name}: {name} must be >= 0 and < 1, got {beta}")
        attrs = {
            "beta1": float(beta1),
            "beta2": float(beta2),
            "eps": float(eps),
            "weight_decay": float(weight_decay),
            "decoupled_weight_decay": bool(decoupled_weight_decay),
            "maximize": bool(maximize),
        }
        return (param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, steps, chunks, lr), attrs

    def reference(self, be: Backend, *arrays: Any, **settings: Any) -> None:
        param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, steps, chunks, lr = arrays
        beta1, beta2, eps, weight_decay, decoupled, maximize = settings.values()
        xp = be.xp
        for part, counter in self.rows(be, param, steps, chunks):
            steps[counter] += 1
            t, value = int(steps[counter]), param[part]
            g = -grad[part] if maximize else grad[part]
            if decoupled:
                value = value * (1 - lr * weight_decay)
            else:
                g = g + weight_decay * value
            exp_avg[part] = beta1 * exp_avg[part] + (1 - beta1) * g
            exp_avg_sq[part] = beta2 * exp_avg_sq[part] + (1 - beta2) * g * g
            v = exp_avg_sq[part]
            if max_exp_avg_sq is not None:
                v = max_exp_avg_sq[part] = xp.maximum(max_exp_avg_sq[part], v)
            root = xp.sqrt(v / (1 - beta2**t)) + eps
            param[part] = value - lr / (1 - beta1**t) * exp_avg[part] / root

    def cpu(self, be: Backend, *arrays: Any, **settings: Any) -> None:
        *buffers, steps, chunks, lr = arrays
        runs, counters = self.runs(be, buffers[0], steps, chunks)
        rate = float(lr[0])

        def update(task: int) -> None:
            part, count = runs[task]
            parts: list[Any] = [None if buffer is None else buffer[part] for buffer in buffers]
            work = scratch.get("adam", (2, part.stop - part.start), buffers[0].dtype)
            _update(parts, work, rate, count + 1, **settings)

        blas.parallel(len(runs), update)
        steps[counters] += 1

    def cuda(self, be: KernelBackend, *arrays: Any, **settings: Any) -> None:
        self.launch(be, arrays, settings)


def _update(
    buffers: Sequence[Any],
    work: Array,
    lr: float,
    step: int,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled_weight_decay: bool,
    maximize: bool,
) -> None:
    """Update a run in place, with two rows of `work` to write to; scalars are gathered, to save passes."""
    param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq = buffers
    sign, (gradient, term) = -1 if maximize else 1, work
    root_of_correction = math.sqrt(1 - beta2**step)
    if weight_decay and not decoupled_weight_decay:
        np.multiply(param, sign * weight_decay, out=gradient)
        gradient += grad
        grad = gradient  # times sign, like the gradient that was given
    elif weight_decay:
        param *= 1 - lr * weight_decay
    exp_avg *= beta1
    exp_avg += np.multiply(grad, sign * (1 - beta1), out=term)
    np.multiply(grad, grad, out=term)
    exp_avg_sq *= beta2
    exp_avg_sq += np.multiply(term, 1 - beta2, out=term)
    if max_exp_avg_sq is not None:
        exp_avg_sq = np.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    np.sqrt(exp_avg_sq, out=term)
    term += eps * root_of_correction
    np.divide(exp_avg, term, out=term)
    term *= lr * root_of_correction / (1 - beta1**step)
    param -= term


adam_step = AdamStep()
