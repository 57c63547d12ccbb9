"""Sweeps: hypothesis draws a Case of an op and how its inputs lie in memory; values, layouts and gradients must agree.

The expected values are the reference's in float64. What was drawn is counted per axis, for the table at the end of a
run: a sweep that never saw an empty batch or a negative stride shows it there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from gpunet import backend
from gpunet.backend import Device
from gpunet.backend.layout import is_dense
from gpunet.ops.base import REGISTRY, Op
from tests.harness.case import FLOATS, Case, assert_close, largest
from tests.harness.memory import VARIANTS
from tests.harness.oracle import expected_outputs, gradients, named_results

MEMORY = (*VARIANTS, "broadcast")  # "broadcast": a stride of 0 along one axis
_seen: dict[tuple[str, str], Counter[tuple[str, Any]]] = {}


@dataclass(frozen=True)
class Sweep:
    """An op and the strategy that draws its Cases (launches do not count here)."""

    op: Op
    cases: st.SearchStrategy[Case]

    def __str__(self) -> str:
        return self.op.__name__


def size(most: int, least: int = 1) -> st.SearchStrategy[int]:
    """Draw the size of an axis."""
    return st.integers(least, most)


def shapes(axes: int, most: int, least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw a shape; sizes may be 0."""
    return st.tuples(*[size(most, least)] * axes)


def run(be: backend.Backend, mode: str, case: Case, data: st.DataObject) -> None:
    """Check one drawn case on a backend."""
    dtype = data.draw(st.sampled_from(FLOATS), label="dtype")
    rng = np.random.default_rng(data.draw(st.integers(0, 9), label="seed"))
    host = case.inputs(rng, dtype)
    device, memory = {}, {}
    for name, array in host.items():
        memory[name] = data.draw(st.sampled_from(MEMORY), label=f"memory of {name}")
        if array is None or name in case.op.mutates or not case.op.outputs or name not in case.shapes:
            memory[name] = "dense"  # what is changed in place, and what lies in flat buffers
        if memory[name] == "broadcast" and (array.ndim == 0 or 0 in array.shape):
            memory[name] = "dense"
        host[name], device[name] = _lay_out(be, array, memory[name], data)
    _count(case, mode, dtype, host, memory)
    expected = expected_outputs(case, host)
    if case.op.outputs:
        magnitude = max(case.scale, case.magnitude({n: _wide(a) for n, a in host.items()}))
    else:
        magnitude = max(10.0, *map(largest, expected.values()))
    results = case.op.forward(*device.values(), **case.attrs)
    outs = named_results(case, results, device)
    for name, want in expected.items():
        got = be.to_numpy(outs[name])
        if got.dtype in FLOATS:
            assert_close(got, want, magnitude, name, case.tf32)
        else:
            assert np.array_equal(got, want), name
    bound, attrs = case.op.bind(*device.values(), **case.attrs)
    if not case.op.views:
        for spec, out in zip(case.op.infer(*bound, **attrs), results, strict=True):
            assert (out.shape, out.dtype) == (spec.shape, spec.dtype) and is_dense(out, spec.layout)
    names = [name for name in case.op.differentiable(len(host)) if host[name] is not None]
    if names:
        needs = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True).map(sorted), label="needs")
        _check_gradients(be, case, host, device, [n for n in names if n in needs], rng, results[0])


def _check_gradients(be, case, host, device, needs, rng, out) -> None:  # type: ignore[no-untyped-def]
    numpy_backend = backend.get(Device("cpu"))
    wide = {name: _wide(array) for name, array in host.items()}
    gy = np.asarray(np.round(rng.standard_normal(out.shape), 1), out.dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(case.op), "cpu", None)
        patch.setattr(type(case.op), "grad_cpu", None)
        expected = gradients(case, numpy_backend, wide, needs, _wide(gy))
        absolute = {n: np.asarray(abs(a)) if a is not None and a.dtype in FLOATS else a for n, a in wide.items()}
        scales = gradients(case, numpy_backend, absolute, needs, np.asarray(abs(_wide(gy))))
    actual = gradients(case, be, device, needs, gy)
    for name, got, want, scale in zip(needs, actual, expected, scales, strict=True):
        assert got.dtype == host[name].dtype
        assert_close(got, want, max(case.scale, largest(scale)), f"gradient of {name}", case.tf32)


def _wide(array: Any) -> Any:
    return np.asarray(array, np.float64) if array is not None and array.dtype in FLOATS else array


def _lay_out(be: backend.Backend, array: Any, memory: str, data: st.DataObject) -> tuple[Any, Any]:
    """Return the values on the host and in the wanted memory on the device."""
    if array is None:
        return None, None
    if memory == "broadcast":
        axis = data.draw(st.integers(0, array.ndim - 1), label="broadcast axis")
        first = np.take(array, [0], axis)
        return np.broadcast_to(first, array.shape), be.xp.broadcast_to(be.from_numpy(first), array.shape)
    return array, VARIANTS[memory](be, np.array(array))


# Coverage.


def _count(case: Case, mode: str, dtype: Any, host: dict[str, Any], memory: dict[str, str]) -> None:
    seen = _seen.setdefault((case.op.__name__, mode), Counter())
    seen["cases", ""] += 1
    seen["dtype", np.dtype(dtype).name] += 1
    seen["empty", any(a is not None and a.size == 0 for a in host.values())] += 1
    for name, array in host.items():
        if array is None:
            seen[name, "absent"] += 1
            continue
        seen["memory", memory[name]] += 1
        for axis, length in enumerate(array.shape):
            seen[f"{name}.{axis}", length] += 1
    for attr, value in case.attrs.items():
        for part in value if isinstance(value, tuple) else (value,):
            if part is None or isinstance(part, bool | int | float | str):
                seen[attr, part if isinstance(part, bool | int | str) or part is None else round(part, 1)] += 1


def coverage() -> Iterator[str]:
    """Yield one line per op and mode: how many cases, which memory, and the values seen on each axis and attribute."""
    for (op, mode), seen in sorted(_seen.items()):
        groups: dict[str, list[str]] = {}
        for (what, value), count in sorted(seen.items(), key=lambda item: (item[0][0], str(item[0][1]))):
            if what != "cases":
                groups.setdefault(what, []).append(f"{value}:{count}")
        yield f"{op} [{mode}] {seen['cases', '']} cases; " + "; ".join(f"{k} {' '.join(v)}" for k, v in groups.items())


def gaps() -> list[str]:
    """Return what an op's sweep should have met and did not: every dtype, every memory, an empty input."""
    missing = []
    for (op, mode), seen in _seen.items():
        memory = MEMORY if REGISTRY[op].outputs else ["dense"]
        wanted = [("dtype", dtype.name) for dtype in FLOATS] + [("memory", kind) for kind in memory]
        missing += [f"{op} [{mode}]: no {what} {value}" for what, value in wanted if not seen[what, value]]
    return missing


Draw = Callable[[st.SearchStrategy[Any]], Any]
