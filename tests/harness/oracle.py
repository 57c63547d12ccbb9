"""What a Case must give, by the reference in float64, and the comparison of a backend with it."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend
from gpunet.backend.dtypes import accumulator
from tests.harness.case import FLOATS, Case, assert_close, largest


def to_device(be, inputs, change=lambda be, array: be.from_numpy(array)):
    """Move a Case's inputs to a backend, each in its own memory."""
    return {name: None if a is None else change(be, np.array(a)) for name, a in inputs.items()}


def expected_outputs(case, inputs):
    """Compute in float64 with the reference, on NumPy: outputs, extras and changed inputs by name."""
    wide = {n: np.array(a, np.float64 if a.dtype in FLOATS else a.dtype) for n, a in inputs.items() if a is not None}
    wide = {name: wide.get(name) for name in inputs}
    be = backend.get(gpunet.Device("cpu"))
    arrays, attrs = case.op.bind(*wide.values(), **case.attrs)
    if case.op.views:
        return named_results(case, case.op.run(arrays, attrs), wide)
    outs = [be.empty(spec.shape, spec.dtype, spec.layout) for spec in case.op.infer(*arrays, **attrs)]
    case.op.reference(be, *outs, *arrays, **attrs)
    return named_results(case, outs, wide)


def named_results(case, outs, inputs):
    """Return all that a call makes or changes, by name."""
    changed = {name: inputs[name] for name in case.op.mutates if inputs[name] is not None}
    return {**dict(zip((*case.op.outputs, *case.op.extras), outs, strict=True)), **changed}


def gradients(case, be, inputs, needs, gy):
    """Return the gradients that a backend computes, on the host."""
    named = dict(zip((*case.op.outputs, *case.op.extras), case.op.forward(*inputs.values(), **case.attrs), strict=True))
    saved = [{**inputs, **named}[name] for name in case.op.saves]
    extra = {}
    if "input_size" in inspect.signature(case.op.bind).parameters:
        extra["input_size"] = next(iter(inputs.values())).shape
    if "sizes" in inspect.signature(case.op.bind).parameters:
        extra["sizes"] = tuple(None if array is None else array.shape for array in inputs.values())
    if "input_dtype" in inspect.signature(case.op.bind).parameters:
        extra["input_dtype"] = inputs["x"].dtype
    result = case.op.grad(be.from_numpy(gy), *saved, needs=needs, **case.attrs, **extra)
    results = result if len(needs) > 1 else (result,)
    return [be.to_numpy(array) for array in results]


class Oracle:
    """The inputs of a Case in one dtype, and what they must give. Computed once, compared as often as one likes."""

    def __init__(self, case: Case, dtype: Any, rng: np.random.Generator) -> None:
        self.case, self.dtype, self.rng = case, np.dtype(dtype), rng
        self.inputs = case.inputs(rng, dtype)

    @property
    def wide(self) -> dict[str, Any]:
        """The inputs in float64, copied anew each time: an op may change them."""
        return {n: np.array(a, np.float64) if _is_float(a) else copy.copy(a) for n, a in self.inputs.items()}

    @property
    def out_dtype(self) -> np.dtype[Any]:
        """The dtype of the output: that of the inputs, unless the op is told another one."""
        return np.dtype(self.case.attrs.get("dtype", self.dtype))

    @functools.cached_property
    def outputs(self) -> dict[str, Any]:
        return expected_outputs(self.case, self.inputs)

    @functools.cached_property
    def magnitude(self) -> float:
        if self.case.op.outputs:
            return max(self.case.scale, self.case.magnitude(self.wide))
        return max(10.0, *map(largest, self.outputs.values()))

    @functools.cached_property
    def gradients(self) -> tuple[Any, list[Any], list[Any]]:
        """The gradient of the output, those of the inputs, and the sums of absolute products behind them."""
        case, be, names = self.case, backend.get(gpunet.Device("cpu")), list(self.case.grad_launches)
        shape = case.op.forward(*self.wide.values(), **case.attrs)[0].shape
        gy = np.asarray(np.asarray(self.rng.standard_normal(shape), self.out_dtype), np.float64)
        absolute = {n: np.asarray(abs(a)) if _is_float(a) else a for n, a in self.wide.items()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(case.op), "cpu", None)
            patch.setattr(type(case.op), "grad_cpu", None)
            expected = gradients(case, be, self.wide, names, gy)
            return gy, expected, gradients(case, be, absolute, names, np.asarray(abs(gy)))

    def check_forward(self, be: backend.Backend, change: Any = None) -> None:
        """Compare all outputs and changed inputs; `change` lays the inputs out in memory (tests/harness/memory.py)."""
        case = self.case
        arrays = to_device(be, self.inputs, *filter(None, [change]))
        outs = named_results(case, case.op.forward(*arrays.values(), **case.attrs), arrays)
        for name, want in self.outputs.items():
            host = be.to_numpy(outs[name])
            if host.dtype in FLOATS:
                dtype = self.out_dtype if name in case.op.outputs else self.dtype
                dtype = accumulator(dtype) if name in (*case.op.extras, *case.wide) else dtype
                assert host.dtype == dtype, name
                assert_close(host, want, self.magnitude, name, case.tf32)
            else:
                assert np.array_equal(host, want), name

    def check_gradient(self, be: backend.Backend) -> None:
        """Compare the gradients of all inputs that have one."""
        names = list(self.case.grad_launches)
        gy, expected, scales = self.gradients
        actual = gradients(self.case, be, to_device(be, self.inputs), names, np.asarray(gy, self.out_dtype))
        for name, got, want, scale in zip(names, actual, expected, scales, strict=True):
            assert got.dtype == self.inputs[name].dtype
            assert_close(got, want, max(self.case.scale, largest(scale)), f"gradient of {name}", self.case.tf32)


def result_bytes(be: backend.Backend, case: Case, dtype: Any) -> list[bytes]:
    """Run a Case forward and back; return the bytes of all results."""
    inputs = to_device(be, case.inputs(np.random.default_rng(3), dtype))
    outs = case.op.forward(*inputs.values(), **case.attrs)
    results = [be.to_numpy(a) for a in (*outs, *(a for a in inputs.values() if a is not None))]
    if case.grad_launches:
        results += gradients(case, be, inputs, list(case.grad_launches), np.ones(outs[0].shape, dtype))
    return [result.tobytes() for result in results]


def _is_float(array: Any) -> bool:
    return array is not None and array.dtype in FLOATS
