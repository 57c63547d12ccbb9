"""Cases of optimizer steps."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import FLOATS, Case, Special

ADAM = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def table(steps, *rows):
    return {"steps": lambda rng: np.array(steps, np.int64), "chunks": lambda rng: np.array(rows, np.int64)}


def sgd_case(id, size, tables, momentum_buffer=True, **attrs):
    shapes = {"param": (size,), "grad": (size,), "momentum_buffer": (size,) if momentum_buffer else None, "lr": (1,)}
    wide = ("lr", "momentum_buffer")
    return Case(ops.sgd_step, shapes, {"sgd_step": 1}, attrs=attrs, wide=wide, integers=tables, id=id)


def adam_case(id, size, tables, amsgrad=False, **attrs):
    shapes = dict.fromkeys(("param", "grad", *ADAM), (size,))
    shapes = {**shapes, "max_exp_avg_sq": (size,) if amsgrad else None, "lr": (1,)}
    return Case(
        ops.adam_step,
        shapes,
        {"adam_step": 1},
        attrs=attrs,
        wide=("lr", *ADAM),
        positive=ADAM[1:],
        integers=tables,
        id=id,
    )


CASES = [
    sgd_case("momentum", 40, table([3, 0], (0, 7, 0), (10, 20, 1)), momentum=0.9, dampening=0.1, weight_decay=0.01),
    sgd_case("nesterov", 300, table([0, 7], (0, 290, 1)), momentum=0.9, nesterov=True, maximize=True),
    sgd_case("long", 1300, table([0], (0, 1290, 0)), momentum=0.5),
    sgd_case("plain", 9, table([5], (2, 5, 0)), momentum_buffer=False),
    sgd_case("no-buffer", 9, table([5], (2, 5, 0)), momentum_buffer=False, momentum=0.9, dampening=0.5, nesterov=True),
    adam_case("plain", 40, table([0, 4, 1000], (0, 7, 2), (10, 20, 0))),
    adam_case("long", 1300, table([3], (5, 1290, 0))),
    adam_case("decay", 300, table([2], (3, 290, 0)), beta1=0.8, beta2=0.9, eps=0.1, weight_decay=0.3, maximize=True),
    adam_case("decoupled", 20, table([0], (0, 20, 0)), weight_decay=0.3, decoupled_weight_decay=True),
    adam_case("amsgrad", 20, table([1, 1], (0, 8, 0), (8, 12, 1)), amsgrad=True, beta2=0.5),
]


def buffers(be, size, *filled):
    """Return flat float32 arrays, each filled with a number."""
    return [be.from_numpy(np.full(size, value, np.float32)) for value in filled]


def a_wrong_table_stays_inside_the_buffers(be):
    rows = np.array([[-3, 5, 0], [6, 100, 1], [3, 1, 2], [4, 1, -1], [20, 5, 1], [5, -2, 1], [4, 0, 1], [8, 1, 1]])
    counters = be.from_numpy(np.full(4, 5))
    (lr,) = buffers(be, 1, 1)
    for step, state in ((ops.sgd_step, 1), (ops.adam_step, 3)):
        whole = buffers(be, 12, 1, 1, *[1] * state)
        before = [be.to_numpy(array).copy() for array in whole]
        step(*(array[2:10] for array in whole), counters[1:3], be.from_numpy(rows), lr)
        for array, old in zip(whole, before, strict=True):
            changed = np.flatnonzero(be.to_numpy(array) != old)
            assert set(changed) <= {2, 3, 8, 9}, step
        assert be.to_numpy(whole[0])[[2, 3, 8, 9]].max() < 1
    assert be.to_numpy(counters).tolist() == [5, 7, 7, 5], "a chunk without elements counts nothing"


def a_step_after_a_device_error_leaves_no_trace(be):
    if not be.uses_kernels:
        return
    for dtype in FLOATS:
        param, grad = (be.from_numpy(np.ones(300, dtype)) for _ in range(2))
        wide = np.float64 if dtype == np.float64 else np.float32
        state, lr = [be.from_numpy(np.ones(300, wide)) for _ in range(3)], be.from_numpy(np.ones(1, wide))
        steps, chunks = be.from_numpy(np.zeros(1, np.int64)), be.from_numpy(np.array([[0, 300, 0]]))
        be.fill(be.error_word, be.error_code(ValueError("planted")))
        ops.sgd_step(param, grad, state[0], steps, chunks, lr, momentum=0.5)
        ops.adam_step(param, grad, *state, steps, chunks, lr)
        be.fill(be.error_word, 0)
        assert all((be.to_numpy(array) == 1).all() for array in (param, grad, *state)) and be.to_numpy(steps) == [0]


def amsgrad_keeps_nan(be):
    param, exp_avg, exp_avg_sq = buffers(be, 2, 1, 0, 0)
    grad, largest = (be.from_numpy(np.array(pair, np.float32)) for pair in ([np.nan, 1], [5, np.nan]))
    chunks, steps = be.from_numpy(np.array([[0, 2, 0]])), be.from_numpy(np.zeros(1, np.int64))
    ops.adam_step(param, grad, exp_avg, exp_avg_sq, largest, steps, chunks, *buffers(be, 1, 1))
    assert np.isnan(be.to_numpy(largest)).all() and np.isnan(be.to_numpy(param)).all()


SPECIALS = [
    Special(("adam_step",), amsgrad_keeps_nan),
    Special(("sgd_step", "adam_step"), a_wrong_table_stays_inside_the_buffers),
    Special(("sgd_step", "adam_step"), a_step_after_a_device_error_leaves_no_trace),
]
