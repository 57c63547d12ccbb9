"""What the tape costs per op: a chain of tiny calls, forward and backward, beside the NumPy calls that it comes to.

Both go through the same chain of ten calls on (4, 8) arrays in float32, each call with parameters of its own, and take
turns. The difference, per call, is what Python takes between a user's call and NumPy: checks, the tape, the walk back.

    python -m bench.overhead [--json bench/results/peers/overhead.json] [--rounds 2000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

import gpunet
from bench import timing
from gpunet import Tensor
from gpunet.nn import functional as F

CALLS = 10  # of a chain; what `backward` itself costs is shared by them
GOAL = 8e-6  # seconds per call, forward and backward
_SHAPES = {"relu": (), "add": ((8,),), "mul": ((4, 8),), "linear": ((8, 8), (8,))}  # of the parameters of a call
_MIXED = ("linear", "relu", "add", "mul")

Values = npt.NDArray[np.float32]
_FORWARD: dict[str, Callable[..., Tensor]] = {
    "relu": gpunet.relu,
    "add": gpunet.add,
    "mul": gpunet.mul,
    "linear": F.linear,
}


def bare_forward(kind: str, x: Values, *parameters: Values) -> Values:
    """Return a call's output, by NumPy."""
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "linear":
        y = np.matmul(x, parameters[0].T)
        y += parameters[1]
        return y
    return x + parameters[0] if kind == "add" else x * parameters[0]


def bare_backward(kind: str, gy: Values, x: Values, y: Values, *parameters: Values) -> tuple[Values, ...]:
    """Return the gradients of a call's input and parameters, by NumPy."""
    if kind == "relu":
        return (gy * (y > 0),)
    if kind == "linear":
        return np.matmul(gy, parameters[0]), np.matmul(gy.T, x), gy.sum(0)
    return (gy, gy.sum(0)) if kind == "add" else (gy * parameters[0], gy * x)


def chains(kinds: tuple[str, ...]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a chain of calls, forward and backward, by gpunet and by bare NumPy; each returns all gradients."""
    rng = np.random.default_rng(0)
    kinds = tuple(kinds[i % len(kinds)] for i in range(CALLS))
    arrays = [[rng.random(shape, np.float32) for shape in _SHAPES[kind]] for kind in kinds]
    start, end = rng.random((4, 8), np.float32), rng.random((4, 8), np.float32)
    x = Tensor(start, requires_grad=True)
    leaves = [[Tensor(array, requires_grad=True) for array in each] for each in arrays]
    calls = [(_FORWARD[kind], each) for kind, each in zip(kinds, leaves, strict=True)]
    gradient = Tensor(end)

    def ours() -> object:
        y = x
        for call, parameters in calls:
            y = call(y, *parameters)
        y.backward(gradient)
        gradients = [leaf._grad for leaf in (x, *(leaf for each in leaves for leaf in each))]
        for leaf in (x, *(leaf for each in leaves for leaf in each)):
            leaf._grad = None
        return gradients

    def bare() -> object:
        values = [start]
        for kind, each in zip(kinds, arrays, strict=True):
            values.append(bare_forward(kind, values[-1], *each))
        gy = end
        gradients: list[Values] = []
        for i in reversed(range(CALLS)):
            gy, *others = bare_backward(kinds[i], gy, values[i], values[i + 1], *arrays[i])
            gradients[:0] = others
        return [gy, *gradients]

    return ours, bare


def measure(kinds: tuple[str, ...], rounds: int) -> tuple[timing.Result, timing.Result]:
    """Time a chain by gpunet and by bare NumPy, in seconds per call of an op."""
    ours, bare = chains(kinds)
    found, name = timing.interleave({"gpunet": ours, "numpy": bare}, rounds=rounds, warmup=50), "+".join(kinds)
    return per_call(found["gpunet"], f"{name} gpunet"), per_call(found["numpy"], f"{name} numpy")


def per_call(result: timing.Result, name: str) -> timing.Result:
    """Return the times of a chain as those of one call."""
    spread = {field: getattr(result, field) / CALLS for field in ("median", "p10", "p90", "min")}
    return replace(result, name=name, **spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write a result file")
    parser.add_argument("--rounds", type=int, default=2000)
    options = parser.parse_args()
    kept: list[timing.Result] = []
    print(f"microseconds per call, forward and backward; medians of {options.rounds}; the goal is {GOAL * 1e6:.0f}")
    print(f"{'chain':22}{'gpunet':>9}{'numpy':>9}{'overhead':>10}")
    for kinds in (*((kind,) for kind in _SHAPES), _MIXED):
        ours, bare = measure(kinds, options.rounds)
        kept += [replace(ours, extra={"overhead": ours.median - bare.median, "goal": GOAL}), bare]
        numbers = (ours.median, bare.median, ours.median - bare.median)
        print(f"{'+'.join(kinds):22}{numbers[0] * 1e6:9.2f}{numbers[1] * 1e6:9.2f}{numbers[2] * 1e6:10.2f}")
    if options.json:
        timing.save(options.json, "overhead", kept)


if __name__ == "__main__":
    main()
