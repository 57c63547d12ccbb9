"""Checks a gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.tensor.tape import no_grad
from gpunet.tensor.tensor import Tensor

__all__ = ["gradcheck"]


def gradcheck(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    eps: float = 1e-6,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    seed: int = 0,
) -> bool:
    """Compare the gradient of a function with central differences along one random direction per input.

        <gradient, d>  =  (f(x + eps*d) - f(x - eps*d)) / (2*eps)

    where f is the function's output weighted with random numbers. Two evaluations per input, whatever its size.

    Args:
        function: takes the inputs, returns one Tensor.
        inputs: float64 tensors; those that require a gradient are checked.
        eps: step length.
        rtol, atol: allowed deviation.
        seed: of the random directions.

    Returns:
        True; a deviation raises instead.

    Raises:
        ValueError: no input requires a gradient, or one is not float64.
        AssertionError: the gradient is wrong; the message says of which input and by how much.

    Example:
        >>> gradcheck(Tensor.relu, [Tensor(np.array([1.0, -2.0]), requires_grad=True)])
        True
    """
    checked = [(i, x) for i, x in enumerate(inputs) if x.requires_grad]
    if not checked or any(x.dtype != np.float64 for _, x in checked):
        raise ValueError("gradcheck: expected at least one input that requires a gradient, and all of them float64")
    rng = np.random.default_rng(seed)
    for _, x in checked:
        x.grad = None
    output = function(*inputs)
    weights = rng.standard_normal(output.shape)
    be = backend.of(output.array)
    output.backward(Tensor(be.from_numpy(weights)))

    def evaluate() -> float:
        with no_grad():
            return float((be.to_numpy(function(*inputs).array) * weights).sum())

    for i, x in checked:
        direction = rng.standard_normal(x.shape)
        analytic = float((_host(x.grad) * direction).sum()) if x.grad is not None else 0.0
        original = _host(x).copy()
        values = []
        for sign in (1, -1):
            with no_grad():
                x.copy_(Tensor(be.from_numpy(np.asarray(original + sign * eps * direction))))
            values.append(evaluate())
        with no_grad():
            x.copy_(Tensor(be.from_numpy(original)))
        numeric = (values[0] - values[1]) / (2 * eps)
        if not abs(analytic - numeric) <= atol + rtol * max(abs(analytic), abs(numeric)):
            raise AssertionError(
                f"gradcheck: the gradient of input {i} {x.shape} is {analytic:.10g} along a random direction, "
                f"finite differences give {numeric:.10g}"
            )
    return True


def _host(tensor: Any) -> Any:
    return backend.of(tensor.array).to_numpy(tensor.array)
