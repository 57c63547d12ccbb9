"""A Case is one call of an op: from it alone the generic tests prove values, gradients, launches and layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet.backend.dtypes import accumulator, floats
from gpunet.ops.base import Op

FLOATS = floats()

# Largest error allowed, relative to the largest sum of absolute products. For 16-bit storage: four roundings; for
# factors rounded to TF32: two of them.
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 1e-6, "float64": 1e-14, "tf32": 1e-3}


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        op: what is called.
        shapes: shape of each float input by name; None leaves an optional input out.
        attrs: keyword arguments of the call.
        integers: makes the integer inputs by name.
        launches: kernels that the forward call launches, with counts; any copy counts as copy_strided.
        grad_launches: for each input with a gradient, the kernels that this gradient alone launches.
        wide: names of float inputs whose dtype is what the others are computed in.
        positive: names of float inputs that are >= 0.1.
        scale: errors are relative to this where the sums of absolute products are smaller.
        torch: the same call in PyTorch: (torch, inputs by name, attrs) -> output.
    """

    op: Op
    shapes: dict[str, tuple[int, ...] | None]
    launches: dict[str, int]
    grad_launches: dict[str, dict[str, int]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    integers: dict[str, Callable[[np.random.Generator], Any]] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    scale: float = 1.0
    torch: Callable[..., Any] | None = None
    id: str = ""

    def __str__(self) -> str:
        shape = "x".join(map(str, next(iter(self.shapes.values())) or ()))
        return "-".join(filter(None, (self.op.__name__, self.id or shape)))

    @property
    def kernels(self) -> set[str]:
        """Names of all kernels that the call and its gradients launch."""
        return {*self.launches, *(kernel for counts in self.grad_launches.values() for kernel in counts)}

    @property
    def tf32(self) -> bool:
        """Whether float32 factors may be rounded to TF32."""
        return bool(self.attrs.get("allow_tf32"))

    def inputs(self, rng: np.random.Generator, dtype: Any) -> dict[str, Any]:
        """Make NumPy inputs, in the op's order; values repeat, so that ties are met."""
        made: dict[str, Any] = {}
        for name in self.op.names(len(self.shapes)):
            if name in self.integers:
                made[name] = self.integers[name](rng)
            else:
                shape = self.shapes.get(name)
                kind = accumulator(np.dtype(dtype)) if name in self.wide else dtype
                if shape is None:
                    made[name] = None
                    continue
                values = np.round(rng.standard_normal(shape), 1)
                made[name] = np.asarray(abs(values) + 0.1 if name in self.positive else values, kind)
        return made

    def magnitude(self, inputs: dict[str, Any]) -> float:
        """Return the largest sum of absolute products: the scale of rounding errors."""
        absolute = [np.asarray(abs(a)) if a is not None and a.dtype in FLOATS else a for a in inputs.values()]
        return max([1e-30, *map(largest, self.op.forward(*absolute, **self.attrs))])


def largest(array: Any) -> float:
    """Return the largest finite absolute value of a float array, else 0."""
    if array.dtype not in FLOATS:
        return 0.0
    values = np.abs(array.astype(np.float64))
    return float(np.max(values, initial=0, where=np.isfinite(values)))


@dataclass(frozen=True)
class Special:
    """What a Case cannot say of a kernel, such as what it does once the error word is set.

    Attributes:
        kernels: what it proves.
        run: launches on a backend and asserts what comes of it; it also runs in race and asan mode.
    """

    kernels: tuple[str, ...]
    run: Callable[[Any], None]

    def __str__(self) -> str:
        return self.run.__name__


def assert_close(actual: Any, expected: Any, magnitude: float, what: str = "", tf32: bool = False) -> None:
    """Compare with the tolerance of the dtype, or for float32 that of TF32; shapes and NaNs must agree.

    Errors are relative to `magnitude`, or to the largest value expected where inputs cancel in their absolute values.
    """
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    precision = "tf32" if tf32 and actual.dtype == np.float32 else actual.dtype.name
    tolerance, actual = TOLERANCE[precision], actual.astype(np.float64)
    assert not np.isnan(actual).any(), f"{what}: NaN at {np.argwhere(np.isnan(actual))[:3].tolist()}"
    finite = np.isfinite(expected)
    assert np.array_equal(actual[~finite], expected[~finite]), f"{what}: infinities differ"
    error = float(np.max(np.abs(actual[finite] - expected[finite]), initial=0)) / max(magnitude, largest(expected))
    assert error <= tolerance, f"{what}: error {error:.2e} of the magnitude"
