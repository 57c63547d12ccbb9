"""Adam and AdamW: PyTorch's numbers, a step count of its own for each parameter, one launch."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from tests.optim.steps import parameters, set_gradients

SETTINGS = [
    {},
    {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    {"amsgrad": True, "weight_decay": 0.01},
    {"maximize": True, "weight_decay": 0.2, "lr": 0.03},
    {"betas": (0.0, 0.0)},
]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_twenty_steps_are_pytorchs_with_groups_and_late_and_missing_gradients(be, torch, name, settings):
    ours = parameters(be, (3, 4), (5,), (2, 3, 2, 2), (70, 80))
    theirs = [torch.nn.Parameter(torch.tensor(be.to_numpy(p.array).copy())) for p in ours]

    def groups(params):
        return [{"params": params[:2]}, {"params": params[2:], "lr": 0.02, "weight_decay": 0.05}]

    mine = getattr(optim, name)(groups(ours), **settings)
    other = getattr(torch.optim, name)(groups(theirs), **settings)
    rng = np.random.default_rng(1)
    for step in range(20):
        set_gradients(be, ours, rng, skip={1, 3} if step < 7 else {0} if step % 5 == 2 else ())
        for p, q in zip(ours, theirs, strict=True):
            q.grad = None if p.grad is None else torch.tensor(be.to_numpy(p.grad.array).copy())
        if step == 11:
            mine.param_groups[0]["lr"] = other.param_groups[0]["lr"] = 0.1
        mine.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(be.to_numpy(p.array), q.detach().numpy(), rtol=1e-12, atol=1e-14)


def train(be, dtype, steps=5):
    params = [nn.Parameter(be.from_numpy(np.linspace(-1, 1, n).astype(dtype))) for n in (7, 300)]
    optimizer = optim.AdamW(params, lr=0.01, amsgrad=True)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        for parameter in params:
            gradient = np.round(rng.standard_normal(parameter.shape), 1).astype(dtype)
            parameter.grad = gpunet.Tensor(be.from_numpy(gradient))
        optimizer.step()
    return [be.to_numpy(parameter.array) for parameter in params]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_two_runs_give_the_same_bits(be, dtype):
    for first, second in zip(train(be, dtype), train(be, dtype), strict=True):
        assert first.tobytes() == second.tobytes() and first.dtype == dtype


def test_an_average_in_float32_lets_16_bit_parameters_learn_on(be):
    """In 16 bits, 0.999 of a square is the square itself, and 1e-6 of a gradient of 1e-3 is nothing at all."""
    parameter = nn.Parameter(be.from_numpy(np.ones(3, np.float16)))
    optimizer = optim.Adam([parameter], lr=0.01)
    for _ in range(10):
        parameter.grad = gpunet.Tensor(be.from_numpy(np.full(3, 1e-3, np.float16)))
        optimizer.step()
    np.testing.assert_allclose(be.to_numpy(parameter.array).astype(np.float64), 0.9, atol=5e-3)


@pytest.mark.only_backends("emulated", "cupy")
def test_a_step_is_one_launch_without_transfers_also_where_counts_differ(be):
    params = parameters(be, (30, 40), (5,), (7, 3))
    optimizer = optim.AdamW(params)
    rng = np.random.default_rng(0)
    for step in range(4):
        set_gradients(be, params, rng, skip={1} if step < 2 else ())
        for parameter in params:
            if parameter._slot is not None and parameter.grad is not None:
                be.copy(parameter._slot, parameter.grad.array)
                parameter.grad = gpunet.Tensor(parameter._slot)
        before, reads, writes = dict(be.launched), be.host_reads, be.host_writes
        optimizer.step()
    counts = {name: count - before.get(name, 0) for name, count in be.launched.items()}
    assert {name: count for name, count in counts.items() if count} == {"adam_step": 1}
    assert (be.host_reads, be.host_writes) == (reads, writes)


def test_counts_and_averages_follow_the_parameters_to_another_device(be):
    gradients = [np.random.default_rng(i).standard_normal(70_000) for i in range(3)]

    def run(move):
        holder = nn.Module()
        holder.p = parameter = nn.Parameter(np.ones(70_000))
        optimizer = optim.Adam([parameter], lr=0.1)
        for i, gradient in enumerate(gradients):
            if move and i == 1:
                holder.to(be.device)
            parameter.grad = gpunet.Tensor(gpunet.backend.of(parameter.array).from_numpy(gradient.copy()))
            optimizer.step()
        return gpunet.backend.of(parameter.array).to_numpy(parameter.array)

    np.testing.assert_allclose(run(True), run(False), rtol=1e-13)


def test_wrong_settings_are_refused_in_every_group():
    p, q = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    for settings, text in [
        ({"lr": -1}, "Adam: lr must be >= 0, got -1"),
        ({"eps": float("nan")}, "eps must be >= 0, got nan"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\), got \(0\.9, 1\.0\)"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
    ]:
        with pytest.raises(ValueError, match=text):
            optim.Adam([p], **settings)
        with pytest.raises(ValueError, match=text):
            optim.Adam([{"params": [p]}, {"params": [q], **settings}])
    with pytest.raises(ValueError, match=r"AdamW: weight_decay must be >= 0, got -0\.1"):
        optim.AdamW([p], weight_decay=-0.1)
