"""SGD: PyTorch's numbers, one launch, flat buffers that nobody notices."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from tests.optim.steps import parameters, set_gradients

SETTINGS = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.8, "nesterov": True, "maximize": True},
]


@pytest.mark.torch
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_steps_are_pytorchs_also_with_missing_gradients(be, torch, settings):
    ours = parameters(be, (3, 4), (5,), (2, 3, 2, 2))
    theirs = [torch.nn.Parameter(torch.tensor(be.to_numpy(p.array).copy())) for p in ours]
    mine, other = optim.SGD(ours, lr=0.1, **settings), torch.optim.SGD(theirs, lr=0.1, **settings)
    rng = np.random.default_rng(1)
    for step in range(4):
        set_gradients(be, ours, rng, skip={1} if step == 0 else ())
        for p, q in zip(ours, theirs, strict=True):
            q.grad = None if p.grad is None else torch.tensor(be.to_numpy(p.grad.array).copy())
        if step == 2:
            mine.param_groups[0]["lr"] = other.param_groups[0]["lr"] = 0.03
        mine.step()
        other.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(be.to_numpy(p.array), q.detach().numpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.only_backends("emulated", "cupy")
def test_a_step_is_one_launch_without_transfers(be):
    params = parameters(be, (30, 40), (5,), (7, 3))
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for parameter in params:
            gradient = rng.standard_normal(parameter.shape)
            if parameter._slot is None:
                parameter.grad = gpunet.Tensor(be.from_numpy(gradient))
            else:
                be.copy(parameter._slot, be.from_numpy(gradient))
        before, reads, writes = dict(be.launched), be.host_reads, be.host_writes
        optimizer.step()
    counts = {name: count - before.get(name, 0) for name, count in be.launched.items()}
    assert {name: count for name, count in counts.items() if count} == {"sgd_step": 1}
    assert (be.host_reads, be.host_writes) == (reads, writes)


def test_backward_writes_straight_into_the_flat_buffer(be):
    model = nn.Linear(3, 2).to(be.device)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = gpunet.tensor(np.ones((4, 3), np.float32)).to(be.device)
    gradient = gpunet.tensor(np.ones((4, 2), np.float32)).to(be.device)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).backward(gradient)
        optimizer.step()
    assert model.weight._grad is model.weight._slot
    optimizer.zero_grad()
    assert model.weight.grad is None
    model(x).backward(gradient)
    assert be.to_numpy(model.weight.grad.array).tolist() == [[4.0] * 3] * 2
    model(x).backward(gradient)
    assert be.to_numpy(model.weight.grad.array).tolist() == [[8.0] * 3] * 2


def test_a_frozen_parameter_stays(be):
    first, second = parameters(be, (3,), (3,))
    first.requires_grad_(False)
    before = be.to_numpy(first.array).copy()
    (first + second).backward(gpunet.Tensor(be.from_numpy(np.ones(3))))
    optim.SGD([first, second], lr=1.0).step()
    assert np.array_equal(be.to_numpy(first.array), before)


def test_momentum_follows_the_parameters_to_another_device(be):
    rng_gradients = [np.random.default_rng(i).standard_normal(4) for i in range(3)]

    def run(move):
        parameter = nn.Parameter(np.ones(4))
        holder = nn.Module()
        holder.p = parameter
        optimizer = optim.SGD([parameter], lr=0.1, momentum=0.9, dampening=0.5)
        for i, gradient in enumerate(rng_gradients):
            if move and i == 1:
                holder.to(be.device)
            parameter.grad = gpunet.Tensor(gpunet.backend.of(parameter.array).from_numpy(gradient.copy()))
            optimizer.step()
        return gpunet.backend.of(parameter.array).to_numpy(parameter.array)

    np.testing.assert_allclose(run(True), run(False), rtol=1e-14)


def test_groups_have_settings_of_their_own():
    a, b = nn.Parameter(np.ones(1)), nn.Parameter(np.ones(1))
    optimizer = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    a.grad = b.grad = gpunet.Tensor(np.ones(1))
    optimizer.step()
    assert (a.item(), b.item()) == (0.9, 0.5)
    late = nn.Parameter(np.ones(1))
    optimizer.add_param_group({"params": [late], "lr": 1.0})
    late.grad = gpunet.Tensor(np.ones(1))
    optimizer.zero_grad()
    late.grad = gpunet.Tensor(np.ones(1))
    optimizer.step()
    assert late.item() == 0.0 and a.item() == 0.9


def test_wrong_settings_are_refused():
    p = nn.Parameter(np.ones(1))
    for settings, text in [
        ({"lr": -1}, "lr must be >= 0, got -1"),
        ({"momentum": float("nan")}, "momentum must be >= 0, got nan"),
        ({"nesterov": True}, "nesterov needs momentum > 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            optim.SGD([p], **settings)
    with pytest.raises(ValueError, match=r"no parameters\n  hint: pass model\.parameters\(\)"):
        optim.SGD([])
    with pytest.raises(TypeError, match="expected an iterable of parameters, got one Tensor"):
        optim.SGD(p)
    with pytest.raises(ValueError, match="is there twice"):
        optim.SGD([p, p])
    with pytest.raises(ValueError, match=r"unknown settings \['beta'\]"):
        optim.SGD([{"params": [p], "beta": 1}])


@pytest.mark.only_backends("emulated", "cupy")
def test_a_bad_label_is_raised_at_the_next_read_and_leaves_the_weights(be):
    model = nn.Linear(3, 2).to(be.device)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = be.to_numpy(model.weight.array).copy()
    x = gpunet.tensor(np.ones((2, 3), np.float32)).to(be.device)
    loss = nn.functional.cross_entropy(model(x), gpunet.tensor([0, 2]).to(be.device))
    loss.backward()
    optimizer.step()
    with pytest.raises(
        IndexError, match=r"cross_entropy: a class index is out of range\.\n  expected 0 <= target < C = 2"
    ):
        loss.item()
    assert np.array_equal(be.to_numpy(model.weight.array), before)
    nn.functional.cross_entropy(model(x), gpunet.tensor([0, 1]).to(be.device)).backward()
    optimizer.step()
    assert not np.array_equal(be.to_numpy(model.weight.array), before), "the error is over"
