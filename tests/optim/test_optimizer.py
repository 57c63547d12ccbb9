"""What every optimizer shares: copies, groups, and what a step leaves alone."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from tests.optim.steps import parameters


def unpickled(value):
    return pickle.loads(pickle.dumps(value))


def train(be, model, optimizer, steps):
    x = gpunet.tensor(np.arange(12.0, dtype=np.float32).reshape(4, 3), device=be.device)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) * model(x)).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return [be.to_numpy(parameter.array).copy() for parameter in model.parameters()]


@pytest.mark.parametrize("copied", [copy.deepcopy, unpickled])
@pytest.mark.parametrize(("kind", "settings"), [("Adam", {}), ("SGD", {"lr": 0.1, "momentum": 0.9})])
def test_a_copy_trains_on_like_the_original_and_without_it(be, copied, kind, settings):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(be.device)
    optimizer = getattr(optim, kind)(model.parameters(), **settings)
    start = train(be, model, optimizer, 2)
    model2, optimizer2 = copied((model, optimizer))
    assert all(a is b for a, b in zip(model2.parameters(), optimizer2.param_groups[0]["params"], strict=True))
    expected = train(be, model, optimizer, 2)
    assert not any(np.array_equal(a, b) for a, b in zip(start, expected, strict=True))
    for parameter, before in zip(model2.parameters(), start, strict=True):
        assert np.array_equal(be.to_numpy(parameter.array), before), "the original trains alone"
    for result, wanted in zip(train(be, model2, optimizer2, 2), expected, strict=True):
        assert np.array_equal(result, wanted)


def test_a_copied_model_is_clipped_by_its_own_gradients(be):
    model = nn.Linear(3, 2).to(be.device)
    train(be, model, optim.SGD(model.parameters(), lr=0.1), 1)
    twin = copy.deepcopy(model)
    twin.zero_grad()
    twin(gpunet.tensor([[3.0, 4.0, 12.0]], device=be.device)).sum().backward()  # rows (3, 4, 12), bias 1
    assert nn.utils.clip_grad_norm_(twin.parameters(), 1.0).item() == pytest.approx(np.sqrt(2 * (13**2 + 1)))
    assert nn.utils.get_total_norm([p.grad for p in twin.parameters()]).item() == pytest.approx(1, rel=1e-5)


def test_a_step_leaves_graphs_of_parameters_without_a_gradient_alone(be):
    first, second = (nn.Parameter(be.from_numpy(np.array([3.0]))) for _ in range(2))
    optimizer = optim.SGD([first, second], lr=0.5)
    for _ in range(2):  # the first step moves the parameters
        optimizer.zero_grad()
        changed, kept = first * first, second * second
        first.relu().backward()
        optimizer.step()
    kept.backward()
    assert second.grad.item() == 6
    with pytest.raises(RuntimeError, match="mul: x, which its gradient needs, was changed"):
        changed.backward()


def test_memory_does_not_grow_with_the_choices_of_parameters(be):
    params = parameters(be, *[(1,)] * 8)
    optimizer = optim.SGD(params, lr=1.0)
    for chosen in range(1, 256):
        optimizer.zero_grad()
        for i, parameter in enumerate(params):
            parameter.grad = gpunet.Tensor(be.from_numpy(np.ones(1))) if chosen >> i & 1 else None
        before = [parameter.item() for parameter in params]
        optimizer.step()
        moved = [round(old - parameter.item(), 6) for old, parameter in zip(before, params, strict=True)]
        assert moved == [chosen >> i & 1 for i in range(8)]
    slots, _ = params[0]._home
    assert len(slots._tables) <= 64


def test_a_group_may_hold_one_parameter_and_must_hold_some(be):
    first, second = parameters(be, (2,), (2,))
    optimizer = optim.SGD([{"params": first}], lr=1.0)
    assert optimizer.param_groups[0]["params"] == [first]
    for groups, text in (([{"lr": 1.0}], r"got one with \['lr'\]"), ([{"params": first}, second], "got a Parameter")):
        with pytest.raises(TypeError, match=f"SGD: expected a dict with 'params' for each group, {text}"):
            optim.SGD(groups)
    with pytest.raises(TypeError, match="got a list"):
        optimizer.add_param_group([second])


def test_what_is_no_parameter_is_refused_with_a_hint():
    model = nn.Linear(1, 1)
    for params, text in (
        ([gpunet.tensor([1.0], requires_grad=True)], r"got Tensor\n  hint: gpunet\.nn\.Parameter\(tensor\)"),
        (model.named_parameters(), r"got tuple\n  hint: pass model\.parameters\(\)"),
    ):
        with pytest.raises(TypeError, match=f"Adam: expected Parameters, {text}"):
            optim.Adam(params)
    with pytest.raises(ValueError, match=r"unknown settings \['beta'\]\n  expected some of \['amsgrad', 'betas'"):
        optim.Adam([{"params": model.weight, "beta": 0.9}])


@pytest.mark.torch
def test_the_text_shows_every_group_as_pytorchs_does(torch):
    def text(nn, optim):
        model = nn.Linear(1, 1)
        return repr(optim.SGD([{"params": model.weight, "lr": 0.5}, {"params": model.bias}], lr=0.1, momentum=0.9))

    ours, theirs = text(nn, optim).splitlines(), text(torch.nn, torch.optim).splitlines()
    assert [line for line in theirs if line in ours] == [line for line in ours if not line.endswith(": 0.0")]
    assert ours[:2] == ["SGD (", "Parameter Group 0"] and "    lr: 0.5" in ours and ours[-1] == ")"


@pytest.mark.parametrize(
    "broken",
    [None, [], {"state": {}}, {"state": [], "param_groups": []}, {"state": {0: 1}, "param_groups": [{"params": [0]}]}]
    + [{"state": {}, "param_groups": groups} for groups in (3, [{}], ["params"])],
    ids=str,
)
def test_what_is_no_state_dict_is_refused(broken):
    optimizer = optim.SGD([nn.Parameter(np.ones(1))])
    with pytest.raises(ValueError, match=r"SGD\.load_state_dict: expected a dict with 'state' and 'param_groups'"):
        optimizer.load_state_dict(broken)


def test_a_group_may_be_changed_between_steps(be):
    first, late = parameters(be, (2,), (3,))
    optimizer = optim.SGD([first], lr=1.0, momentum=0.5)
    params = optimizer.param_groups[0]["params"]
    moved = []
    for change in (lambda: None, lambda: params.append(late), lambda: params.remove(first)):
        change()
        before = [be.to_numpy(p.array).copy() for p in (first, late)]
        for parameter in (first, late):
            parameter.grad = gpunet.Tensor(be.from_numpy(np.ones(parameter.shape)))
        optimizer.step()
        moved.append([float(b[0] - be.to_numpy(p.array)[0]) for b, p in zip(before, (first, late), strict=True)])
    assert np.allclose(moved, [[1, 0], [1.5, 1], [0, 1.5]]), "momentum goes on, and starts with the first step"


def test_a_flat_parameter_may_be_both_inputs_of_one_call(be, rng):
    weight = nn.Parameter(be.from_numpy(rng.standard_normal((3, 3)).astype(np.float32)))
    optimizer, gradients = optim.SGD([weight], lr=0.0), []
    for _ in range(2):  # the first step makes the slot that the second backward writes to
        optimizer.zero_grad()
        (weight @ weight).sum().backward()
        gradients.append(be.to_numpy(weight.grad.array).copy())
        optimizer.step()
    assert weight._slot is not None
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-6)
