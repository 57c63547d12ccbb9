"""The stand-in for CuPy refuses what CuPy refuses."""

from __future__ import annotations

import importlib.util
import inspect

import numpy as np
import pytest

from gpunet.backend import emulated_xp as xp


@pytest.fixture
def x():
    return xp.asarray(np.arange(6.0).reshape(2, 3))


def test_no_implicit_way_to_the_host(x):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    assert not isinstance(x, np.ndarray)
    assert np.array_equal(x.get(), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, h: xp.add(x, h),
        lambda x, h: x * h,
        lambda x, h: h + x,
        lambda x, h: x.__setitem__(slice(None), h),
        lambda x, h: xp.where(x > 1, h, x),
        lambda x, h: np.add(x, h),
    ],
)
def test_host_arrays_do_not_mix(x, mix):
    with pytest.raises(TypeError):
        mix(x, np.ones((2, 3)))


def test_reductions_return_arrays_without_axes(x):
    for result in (x.sum(), x.max(), x.argmax(), xp.sum(x)):
        assert isinstance(result, xp.ndarray) and result.shape == ()


def test_elementwise_results_are_c_ordered(x):
    assert (x.T + 1.0).flags.c_contiguous and xp.exp(x.T).flags.c_contiguous


def test_views_share_memory_and_copies_do_not(x):
    x[0, 1:].fill(7)
    assert x.get().tolist() == [[0, 7, 7], [3, 4, 5]]
    y = x.copy()
    y += 1.0
    assert x.get()[1, 0] == 3 and y.get()[1, 0] == 4
    assert x.T.reshape(2, 3).get().tolist() == [[0, 3, 7], [4, 7, 5]]


def test_uninitialised_memory_is_poisoned():
    assert np.isnan(xp.empty((3,), np.float32).get()).all() and (xp.empty(3, np.uint8).get() == 255).all()


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_every_name_exists_in_cupy():
    import cupy

    public = [name for name, value in vars(xp).items() if not name.startswith("_") and _own(value)]
    assert len(public) > 30
    missing = [name for name in public if not hasattr(cupy, name) and name not in ("host_view", "check_guards")]
    assert missing == []
    methods = [name for name, value in vars(xp.ndarray).items() if not name.startswith("_") and value is not None]
    assert [name for name in methods if not hasattr(cupy.ndarray, name)] == []


def _own(value):
    return (inspect.isfunction(value) and value.__module__ == xp.__name__) or value is xp.ndarray
