"""Norms of gradients and clipping: PyTorch's numbers, few launches, nothing read on the host."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import gpunet
from gpunet import Tensor, nn, optim
from gpunet.backend import CHANNELS_LAST, layout_of
from gpunet.nn import utils

SHAPES = ((3, 4), (5,), (2, 3, 2, 2), (70, 80), ())
ORDERS = (1.0, 2.0, 3.5, float("inf"))


def parameters(be, dtype=np.float64, missing=(1,), scale=1.0, flat=False, seed=0):
    """Return parameters with gradients, in an optimizer's flat buffers or not."""
    rng = np.random.default_rng(seed)
    params = [nn.Parameter(be.from_numpy(np.zeros(shape, dtype))) for shape in SHAPES]
    if flat:
        optimizer = optim.SGD([{"params": params[:3]}, {"params": params[3:]}], lr=0.0)
        for p in params:
            p.grad = Tensor(be.zeros(p.shape, dtype))
        optimizer.step()
    for i, p in enumerate(params):
        gradient = be.from_numpy(np.asarray(scale * rng.standard_normal(p.shape), dtype))
        p.grad = None
        if i not in missing:
            p._accumulate(gradient, owned=True)
            assert (p._grad is p._slot) == flat
    return params


def theirs(be, torch, params):
    result = []
    for p in params:
        q = torch.zeros(p.shape, dtype=torch.float64, requires_grad=True)
        q.grad = None if p.grad is None else torch.tensor(be.to_numpy(p.grad.array).copy())
        result.append(q)
    return result


def assert_same_gradients(be, params, others):
    for p, q in zip(params, others, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(be.to_numpy(p.grad.array), q.grad.numpy(), rtol=1e-13, atol=0)


@pytest.mark.torch
@pytest.mark.parametrize("flat", [False, True], ids=["apart", "flat"])
@pytest.mark.parametrize("norm_type", ORDERS)
@pytest.mark.parametrize("max_norm", [0.01, 1e6, 0])
def test_norms_and_clipped_gradients_are_pytorchs(be, torch, flat, norm_type, max_norm):
    params = parameters(be, flat=flat)
    others = theirs(be, torch, params)
    total = utils.clip_grad_norm_(iter(params), max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(others, max_norm, norm_type)
    assert total.shape == () and total.device == be.device and not total.requires_grad
    np.testing.assert_allclose(total.item(), expected.item(), rtol=1e-13)
    assert_same_gradients(be, params, others)


@pytest.mark.torch
@pytest.mark.parametrize("flat", [False, True], ids=["apart", "flat"])
def test_values_are_clipped_as_in_pytorch(be, torch, flat):
    params = parameters(be, flat=flat)
    others = theirs(be, torch, params)
    utils.clip_grad_value_(params, 0.3)
    torch.nn.utils.clip_grad_value_(others, 0.3)
    assert_same_gradients(be, params, others)


@pytest.mark.parametrize("flat", [False, True], ids=["apart", "flat"])
def test_only_the_given_parameters_count(be, flat):
    params = parameters(be, missing=(), flat=flat)
    before = [be.to_numpy(p.grad.array).copy() for p in params]
    total = utils.clip_grad_norm_([params[2], params[0], params[2]], 0.1)
    expected = np.sqrt(sum((before[i] ** 2).sum() for i in (0, 2)))
    np.testing.assert_allclose(total.item(), expected, rtol=1e-13)
    for i, (p, old) in enumerate(zip(params, before, strict=True)):
        factor = 0.1 / (expected + 1e-6) if i in (0, 2) else 1
        np.testing.assert_allclose(be.to_numpy(p.grad.array), old * factor, rtol=1e-13)


def test_a_single_tensor_and_no_gradient_at_all(be):
    (p, *_), empty = parameters(be), parameters(be, missing=range(5))
    norm = utils.get_total_norm(p.grad).item()
    assert utils.clip_grad_norm_(p, 0.5).item() == norm > 0.5
    assert utils.get_total_norm(p.grad).item() == pytest.approx(0.5, rel=1e-5)
    assert utils.clip_grad_norm_(empty, 1.0).item() == 0 and utils.get_total_norm([]).item() == 0
    utils.clip_grad_value_(empty, 1.0)


def test_the_norm_of_tensors_is_that_of_one_long_vector(be):
    arrays = [np.arange(6.0).reshape(2, 3), np.full((1, 2, 2, 2), -2.0)]
    tensors = [Tensor(be.from_numpy(array)[..., ::-1]) for array in arrays]
    expected = np.linalg.norm(np.concatenate([array.ravel() for array in arrays]))
    assert utils.get_total_norm(tensors).item() == pytest.approx(expected, rel=1e-14)


def test_16_bit_gradients_have_a_norm_in_float32_and_mix_with_others(be):
    half, single, double = (parameters(be, dtype) for dtype in (np.float16, np.float32, np.float64))
    norm = utils.get_total_norm([p.grad for p in (*half, *single) if p.grad is not None])
    assert norm.dtype == np.float32
    mixed = [*half, *single, *double]
    total = utils.clip_grad_norm_(mixed, 1.0)
    assert total.dtype == np.float64 and total.item() == pytest.approx(norm.item() * np.sqrt(3 / 2), rel=1e-3)
    assert utils.get_total_norm([p.grad for p in mixed if p.grad is not None]).item() == pytest.approx(1, rel=1e-3)
    assert all(p.grad is None or p.grad.dtype == p.dtype for p in mixed)


def test_a_gradient_keeps_its_layout_and_one_with_gaps_is_clipped_too(be):
    p, q = (nn.Parameter(be.zeros((1, 2, 3, 4), np.float64)) for _ in range(2))
    p.grad = Tensor(be.zeros((1, 2, 3, 4), np.float64, CHANNELS_LAST))
    q.grad = Tensor(be.from_numpy(np.ones((1, 2, 3, 8)))[..., ::2])
    utils.clip_grad_value_([p, q], 0.5)
    assert layout_of(p.grad.array) == CHANNELS_LAST
    assert np.array_equal(be.to_numpy(q.grad.array), np.full((1, 2, 3, 4), 0.5))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_raises_only_where_that_is_asked_for(be, bad):
    params = parameters(be)
    params[0].grad = Tensor(be.from_numpy(np.full((3, 4), bad)))
    before = be.to_numpy(params[2].grad.array).copy()
    with pytest.raises(RuntimeError, match=rf"the norm of order 2\.0 of the gradients is {bad}(.|\n)*hint: error_if"):
        utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert np.array_equal(be.to_numpy(params[2].grad.array), before)
    assert not np.isfinite(utils.clip_grad_norm_(params, 1.0).item())
    after = be.to_numpy(params[2].grad.array)
    assert np.isnan(after).all() if np.isnan(bad) else (after == 0).all()


@pytest.mark.only_backends("emulated", "cupy")
def test_flat_gradients_take_one_launch_each_and_no_transfer(be):
    params = parameters(be, flat=True)
    utils.clip_grad_norm_(params, 1.0)
    utils.clip_grad_value_(params, 0.1)
    before, transfers = Counter(be.launched), (be.host_reads, be.host_writes)
    utils.clip_grad_norm_(params, 0.01)
    utils.clip_grad_value_(params, 0.001)
    assert dict(be.launched - before) == {"norm_partials": 2, "norm_total": 1, "clip_by_norm": 2, "clip_by_value": 2}
    assert (be.host_reads, be.host_writes) == transfers


def test_two_runs_give_the_same_bits(be):
    totals = [be.to_numpy(utils.clip_grad_norm_(parameters(be, np.float32, flat=True), 1.0).array) for _ in range(2)]
    assert totals[0].tobytes() == totals[1].tobytes()


@pytest.mark.only_backends("emulated", "cupy")
def test_gradients_on_different_devices_are_refused(be):
    here, there = parameters(be)[0], nn.Parameter(np.ones(3))
    there.grad = gpunet.tensor(np.ones(3))
    with pytest.raises(gpunet.DeviceError, match="different devices"):
        utils.clip_grad_norm_([here, there], 1.0)


def test_wrong_settings_are_refused():
    for call, text in [
        (lambda: utils.clip_grad_norm_([], -1.0), "max_norm must be >= 0, got -1"),
        (lambda: utils.clip_grad_norm_([], float("nan")), "max_norm must be >= 0, got nan"),
        (lambda: utils.clip_grad_norm_([], 1.0, 0), "norm_type must be > 0, got 0"),
        (lambda: utils.get_total_norm([], -2), "norm_type must be > 0"),
        (lambda: utils.clip_grad_value_([], -0.1), r"clip_value must be >= 0, got -0\.1"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
    with pytest.raises(TypeError, match="clip_grads_with_norm_: expected total_norm as a Tensor, got float"):
        utils.clip_grads_with_norm_([], 1.0, 1.0)
