"""State dicts: PyTorch's structure, there and back, and nothing is written before everything is checked."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import gpunet
from gpunet import io, nn, optim
from tests.optim.steps import parameters, set_gradients

SHAPES = ((3, 4), (5,), (2, 3, 2, 2), (70, 80))
OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("Adam", {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.02}),
]
each_optimizer = pytest.mark.parametrize(("name", "settings"), OPTIMIZERS, ids=str)


def groups(params):
    return [{"params": params[:2]}, {"params": params[2:], "lr": 0.05}]


def step(be, optimizer, params, rng, skip=()):
    set_gradients(be, params, rng, skip)
    optimizer.step()


def to_numpy(state_dict):
    """Return a state dict with NumPy arrays, from gpunet or from PyTorch."""
    state = {
        number: {k: v if v is None else np.asarray(v) for k, v in entry.items()}
        for number, entry in state_dict["state"].items()
    }
    return {"state": state, "param_groups": state_dict["param_groups"]}


def torch_pair(be, torch, name, settings):
    """Return our and PyTorch's parameters and optimizers, with equal values."""
    ours = parameters(be, *SHAPES)
    theirs = [torch.nn.Parameter(torch.tensor(be.to_numpy(p.array).copy())) for p in ours]
    mine = getattr(optim, name)(groups(ours), **settings)
    return ours, mine, theirs, getattr(torch.optim, name)(groups(theirs), **settings)


def both_step(be, torch, ours, mine, theirs, other, rng, skip=()):
    set_gradients(be, ours, rng, skip)
    for p, q in zip(ours, theirs, strict=True):
        q.grad = None if p.grad is None else torch.tensor(be.to_numpy(p.grad.array).copy())
    mine.step()
    other.step()


def assert_equal(be, ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(be.to_numpy(p.array), q.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.torch
@each_optimizer
def test_a_run_goes_on_from_pytorchs_state_and_back_again(be, torch, name, settings):
    rng = np.random.default_rng(1)
    ours, _, theirs, other = torch_pair(be, torch, name, settings)
    for i in range(3):
        both_step(be, torch, ours, optim.SGD(ours, 0.0), theirs, other, rng, skip={1, 2} if i < 2 else {2})
    for p, q in zip(ours, theirs, strict=True):
        be.copy(p.array, be.from_numpy(q.detach().numpy().copy()))
    mine = getattr(optim, name)(groups(ours))
    mine.load_state_dict(to_numpy(other.state_dict()))
    assert [g["lr"] for g in mine.param_groups] == [g["lr"] for g in other.param_groups]
    for _ in range(2):
        both_step(be, torch, ours, mine, theirs, other, rng)
    assert_equal(be, ours, theirs)

    fresh = getattr(torch.optim, name)(groups(theirs))
    saved = to_numpy(mine.state_dict())
    state = {n: {k: torch.tensor(v) for k, v in entry.items()} for n, entry in saved["state"].items()}
    fresh.load_state_dict({"state": state, "param_groups": saved["param_groups"]})
    for _ in range(2):
        both_step(be, torch, ours, mine, theirs, fresh, rng)
    assert_equal(be, ours, theirs)


@pytest.mark.torch
@each_optimizer
def test_the_structure_is_pytorchs(be, torch, name, settings):
    ours, mine, theirs, other = torch_pair(be, torch, name, settings)
    both_step(be, torch, ours, mine, theirs, other, np.random.default_rng(0), skip={1})
    saved, expected = mine.state_dict(), other.state_dict()
    kinds = [
        {n: {k: (tuple(v.shape), str(np.asarray(v).dtype)) for k, v in entry.items()} for n, entry in state.items()}
        for state in (saved["state"], expected["state"])
    ]
    assert kinds[0] == kinds[1]
    for group, theirs_of_group in zip(saved["param_groups"], expected["param_groups"], strict=True):
        assert group == {key: theirs_of_group[key] for key in group}
    mine.load_state_dict(expected)  # CPU tensors of PyTorch are arrays, too


@each_optimizer
def test_training_goes_on_after_a_checkpoint_as_if_nothing_had_happened(be, name, settings, tmp_path):
    def run(interrupted):
        params, rng = parameters(be, *SHAPES), np.random.default_rng(2)
        optimizer = getattr(optim, name)(groups(params), **settings)
        for i in range(4):
            step(be, optimizer, params, rng, skip={0} if i < 2 else ())
            if interrupted and i == 1:
                io.save_checkpoint(optimizer.state_dict(), tmp_path / "state.safetensors")
                params = [nn.Parameter(be.from_numpy(be.to_numpy(p.array).copy())) for p in params]
                optimizer = getattr(optim, name)(groups(params))
                optimizer.load_state_dict(io.load_checkpoint(tmp_path / "state.safetensors"))
        return [be.to_numpy(p.array).tobytes() for p in params]

    assert run(True) == run(False)


def test_a_state_dict_is_a_snapshot(be):
    params = parameters(be, (3,))
    optimizer = optim.Adam(params)
    step(be, optimizer, params, np.random.default_rng(0))
    saved = optimizer.state_dict()
    before = copy.deepcopy(to_numpy(saved))
    step(be, optimizer, params, np.random.default_rng(1))
    for key, value in before["state"][0].items():
        assert np.array_equal(saved["state"][0][key].numpy(), value), key


def test_loading_starts_parameters_without_state_anew(be):
    params = parameters(be, (3,), (4,))
    optimizer = optim.Adam(params, lr=0.5)
    empty = optimizer.state_dict()
    for seed in range(3):
        step(be, optimizer, params, np.random.default_rng(seed))
    optimizer.load_state_dict(empty)
    assert optimizer.state_dict()["state"] == {}
    values = [be.to_numpy(p.array).copy() for p in params]
    step(be, optimizer, params, np.random.default_rng(9))
    for p, before in zip(params, values, strict=True):
        np.testing.assert_allclose(abs(be.to_numpy(p.array) - before), 0.5, rtol=1e-6)  # Adam's first step


def test_state_keeps_its_place_in_channels_last_memory(be):
    array = np.arange(24.0).reshape(1, 2, 3, 4)
    weight = nn.Parameter(be.zeros(array.shape, array.dtype, gpunet.backend.CHANNELS_LAST))
    optimizer = optim.SGD([weight], lr=1.0, momentum=0.5)
    weight.grad = gpunet.Tensor(be.from_numpy(array))
    optimizer.step()
    assert gpunet.backend.layout_of(weight.array) == gpunet.backend.layout_of(weight.grad.array) == "channels_last"
    saved = optimizer.state_dict()
    assert np.array_equal(saved["state"][0]["momentum_buffer"].numpy(), array)
    saved["state"][0]["momentum_buffer"] = np.ascontiguousarray(2 * array)
    optimizer.load_state_dict(saved)
    assert np.array_equal(optimizer.state_dict()["state"][0]["momentum_buffer"].numpy(), 2 * array)


def change(state_dict, path, value):
    *way, last = path
    place = state_dict
    for key in way:
        place = place[key]
    place[last] = value


MISTAKES = [
    ((), None, ValueError, r"Adam\.load_state_dict: expected a dict with 'state' and 'param_groups'"),
    (("param_groups",), [], ValueError, r"other parameters\.\n  expected groups of \[1, 1\] parameters, got \[\]"),
    (("param_groups", 0, "params"), [0, 1], ValueError, r"got \[2, 1\]"),
    (("param_groups", 1, "momentum"), 0.9, ValueError, r"unknown settings \['momentum'\]"),
    (("param_groups", 1, "lr"), "fast", ValueError, "lr cannot be 'fast'"),
    (("param_groups", 1, "lr"), -1.0, ValueError, "lr must be >= 0"),
    (("param_groups", 1, "betas"), (0.9, 2.0), ValueError, "betas must be two numbers"),
    (("state", 7), {}, ValueError, r"state of parameters that no group has: \[7\]"),
    (("state", 1), {"momentum_buffer": np.ones(4)}, ValueError, "the state of parameter 1 is of another kind"),
    (("state", 1, "momentum_buffer"), np.ones(4), ValueError, r"got \['exp_avg', 'exp_avg_sq', 'momentum_buffer'"),
    (("state", 1, "exp_avg"), None, ValueError, r"expected \['exp_avg', 'exp_avg_sq', 'step'\], got \['exp_avg_sq'"),
    (("state", 1, "step"), 1.5, ValueError, r"step of parameter 1 must be a count, got 1\.5"),
    (("state", 1, "step"), -1, ValueError, "must be a count"),
    (("state", 1, "exp_avg"), np.ones((4, 1)), gpunet.ShapeError, r"1\.exp_avg: expected \(4,\), got \(4, 1\)"),
    (("state", 1, "exp_avg"), np.array(list("abcd")), gpunet.DTypeError, r"1\.exp_avg has dtype"),
]


@pytest.mark.parametrize(("path", "value", "kind", "text"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_found_before_the_first_write(path, value, kind, text):
    be = gpunet.backend.get(gpunet.device("cpu"))
    params = parameters(be, (3,), (4,))
    optimizer = optim.Adam([{"params": params[:1]}, {"params": params[1:]}])
    step(be, optimizer, params, np.random.default_rng(0))
    before, saved = to_numpy(optimizer.state_dict()), optimizer.state_dict()
    saved["state"][0]["step"] = 5
    saved["param_groups"][0]["lr"] = 7.0
    if path:
        change(saved, path, value)
    with pytest.raises(kind, match=text):
        optimizer.load_state_dict(saved if path else saved["state"])
    after = to_numpy(optimizer.state_dict())
    assert after["param_groups"] == before["param_groups"]
    assert all(np.array_equal(after["state"][n][k], v) for n, e in before["state"].items() for k, v in e.items())


def test_adamw_does_not_become_adam():
    p = nn.Parameter(np.ones(1))
    with pytest.raises(ValueError, match="AdamW: decoupled_weight_decay must be True"):
        optim.AdamW([p]).load_state_dict(optim.Adam([p]).state_dict())
    adam = optim.Adam([p])
    adam.load_state_dict(optim.AdamW([p], weight_decay=0.3).state_dict())
    assert adam.param_groups[0]["decoupled_weight_decay"] and adam.param_groups[0]["weight_decay"] == 0.3
