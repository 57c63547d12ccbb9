"""Where small arrays take the shortest way through an op, and that nothing changes by it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from gpunet import ops
from gpunet.ops import compute

SMALL = (3, 5)
ACTIVATIONS = [ops.relu, ops.sigmoid, ops.tanh, ops.elu, ops.leaky_relu, ops.neg]


def values(rng, dtype=np.float32, shape=SMALL):
    x = rng.standard_normal(shape).astype(dtype)
    x.flat[:4] = 0.0, -0.0, np.inf, np.nan
    return x


def spread(x):
    """Return the same values with gaps between them."""
    wide = np.zeros((*x.shape, 2), x.dtype)
    wide[..., 0] = x
    return wide[..., 0]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ((np.zeros(SMALL), np.zeros(SMALL)), True),
        ((np.zeros(SMALL, np.float32), spread(np.zeros(SMALL, np.float32))), True),
        ((spread(np.zeros(SMALL)),), False),
        ((np.zeros(SMALL), np.zeros(SMALL[::-1])), False),
        ((np.zeros(SMALL), np.zeros(SMALL, np.float32)), False),
        ((np.zeros(SMALL, np.float16),), False),
        ((np.zeros(SMALL, ">f4"),), False),
        ((np.zeros(SMALL, int),), False),
        ((None, np.zeros(SMALL)), False),
        ((np.zeros(SMALL), None), False),
        ((np.zeros(SMALL), 1.0), False),
        ((np.zeros(SMALL).view(np.matrix),), False),
        ((np.zeros(compute._SMALL),), True),
        ((np.zeros(compute._SMALL + 1),), False),
    ],
)
def test_which_arrays_are_plain(arrays, expected):
    assert compute.is_plain(*arrays) is expected


@pytest.mark.parametrize("op", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_arrays_give_the_bits_of_others(op, dtype, rng):
    x, gy = values(rng, dtype), values(rng, dtype)[::-1].copy()
    y = op(x)
    assert np.array_equal(y, op(spread(x)), equal_nan=True)
    saved = [{"x": x, "y": y}[name] for name in op.saves]
    gx = op.grad(gy, *saved)
    assert gx.dtype == dtype and np.array_equal(gx, op.grad(spread(gy), *map(spread, saved)), equal_nan=True)


@pytest.mark.parametrize("op", [ops.add, ops.sub, ops.mul, ops.div], ids=repr)
def test_plain_operands_give_the_bits_of_others(op, rng):
    x, y, gy = (values(rng) for _ in range(3))
    z = op(x, y)
    assert np.array_equal(z, op(spread(x), y), equal_nan=True)
    saved = [{"x": x, "y": y, "z": z}[name] for name in op.saves]
    expected = op.grad(spread(gy), *map(spread, saved), sizes=(SMALL, SMALL))
    for gradient, other in zip(op.grad(gy, *saved, sizes=(SMALL, SMALL)), expected, strict=True):
        assert np.array_equal(gradient, other, equal_nan=True)


def test_gradients_of_plain_arrays_go_where_they_are_told(rng):
    y, gy, slot = ops.relu(values(rng)), values(rng), np.empty(SMALL, np.float32)
    (gx,) = ops.relu.run_grad(gy, [y], {}, [True], [slot])
    assert gx is slot and np.array_equal(slot, ops.relu.grad(gy, y), equal_nan=True)


def test_overflow_makes_no_noise_within_a_call_and_noise_outside_of_it():
    large = np.full(3, 3e38, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(ops.add(large, large)).all() and np.isinf(ops.add(spread(large), large)).all()
    with pytest.warns(RuntimeWarning, match="overflow"):
        large + large


@pytest.mark.parametrize("known", [True, False], ids=["its context variable", "np.errstate itself"])
def test_what_the_user_has_set_for_overflow_is_there_again_after_an_error(known, monkeypatch):
    assert compute._SILENCE is not None, "this NumPy sets another number of variables; calls cost 1 us more"
    if not known:
        monkeypatch.setattr(compute, "_SILENCE", None)

    def fail():
        assert set(np.geterr().values()) == {"ignore"}
        raise ZeroDivisionError

    with np.errstate(over="raise", invalid="warn"):
        before = np.geterr()
        with pytest.raises(ZeroDivisionError):
            compute.quietly(fail)
        assert np.geterr() == before
