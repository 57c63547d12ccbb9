"""Containers: what PyTorch's do, and the names that modules may have."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict

import numpy as np
import pytest

import gpunet
from gpunet import nn


def edit_sequential(nn):
    net = nn.Sequential(nn.Linear(1, 2), nn.Tanh())
    assert net.append(nn.Linear(2, 3)) is net and net.extend([nn.ReLU(), nn.Flatten()]) is net
    yield repr(net), list(net.state_dict())
    net[1] = nn.Sigmoid()
    net[-1] = nn.Softmax(1)
    yield repr(net)
    assert net.insert(1, nn.LeakyReLU()) is net
    yield repr(net), list(net.state_dict())
    del net[0]
    yield repr(net), list(net.state_dict())
    del net[1:3]
    yield repr(net), len(net)


def edit_named_sequential(nn):
    net = nn.Sequential(OrderedDict(fc=nn.Linear(1, 2), act=nn.ReLU(), out=nn.Linear(2, 1)))
    yield repr(net), list(net.state_dict()), repr(net[1:])
    net[0] = nn.Linear(1, 2, bias=False)
    net.add_module("last", nn.Tanh())
    yield repr(net), type(net.act).__name__
    del net.act
    yield repr(net), len(net)


def edit_list(nn):
    layers = nn.ModuleList([nn.Linear(1, 2)])
    layers.append(nn.ReLU()).extend(nn.ModuleList([nn.Linear(2, 2), nn.Tanh()]))
    yield list(layers.state_dict()), [type(layer).__name__ for layer in layers]
    layers.insert(0, nn.Flatten())
    layers[1] = nn.Linear(3, 3)
    yield list(layers.state_dict()), len(layers), type(layers[-1]).__name__
    yield list(layers[3:].state_dict()), type(layers[3:]).__name__
    del layers[0]
    yield list(layers.state_dict()), layers[0] in layers


def edit_dict(nn):
    heads = nn.ModuleDict({"a": nn.Linear(1, 2), "b": nn.ReLU()})
    heads["c"] = nn.Linear(2, 2)
    heads.update({"b": nn.Linear(3, 3), "d": nn.Tanh()})
    yield list(heads.state_dict()), list(heads), list(heads.keys()), len(heads), "c" in heads, "x" in heads
    yield type(heads.pop("d")).__name__, [(name, type(head).__name__) for name, head in heads.items()]
    del heads["a"]
    yield list(heads.state_dict()), [type(head).__name__ for head in heads.values()], len(nn.ModuleDict())


@pytest.mark.torch
@pytest.mark.parametrize("edit", [edit_sequential, edit_named_sequential, edit_list, edit_dict])
def test_containers_are_pytorchs(torch, edit):
    ours, theirs = ([re.sub(r"\.0(?=[,)])", "", str(step)) for step in edit(each)] for each in (nn, torch.nn))
    assert ours == theirs


def test_identity_takes_any_arguments_and_returns_its_input():
    x = gpunet.tensor([1.0])
    assert nn.Identity(5, unused=True)(x) is x and repr(nn.Identity()) == "Identity()"


def test_a_copied_list_has_modules_of_its_own():
    layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
    copied = copy.deepcopy(layers)
    del copied[0]
    assert len(layers) == 2 and copied[0].weight is not layers[1].weight
    assert np.array_equal(copied[0].weight.array, layers[1].weight.array)


def test_what_is_added_to_a_slice_replaces_nothing():
    part = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())[1:].append(nn.Flatten()).append(nn.ReLU())
    assert [type(module).__name__ for module in part] == ["Tanh", "Sigmoid", "Flatten", "ReLU"]
    assert [name for name, _ in nn.ModuleList([nn.ReLU(), nn.Tanh()])[1:].named_children()] == ["0"]


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: nn.ModuleList([nn.ReLU(), 3]), TypeError, "add_module: expected a Module for '1', got int"),
        (lambda: nn.Sequential([nn.ReLU()]), TypeError, "add_module: expected a Module for '0', got list"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), KeyError, r"must not be empty or have a dot, got 'a\.b'"),
        (lambda: nn.Sequential({"": nn.ReLU()}), KeyError, "must not be empty or have a dot, got ''"),
        (lambda: nn.ModuleDict({"training": nn.ReLU()}), KeyError, "ModuleDict has an attribute 'training' already"),
        (lambda: nn.ModuleDict({1: nn.ReLU()}), TypeError, "add_module: expected a str for the name, got 1"),
        (lambda: nn.ReLU().add_module("forward", nn.ReLU()), KeyError, "ReLU has an attribute 'forward' already"),
        (lambda: nn.ReLU().register_parameter("a.b", None), KeyError, "register_parameter: a name must not be empty"),
        (lambda: nn.ReLU().register_buffer("a.b", None), KeyError, "register_buffer: a name must not be empty"),
        (lambda: nn.ModuleDict({"b": nn.ReLU()})["a"], KeyError, r"there is no module 'a'; there are \['b'\]"),
        (lambda: nn.ModuleList()[0], IndexError, "out of range"),
    ],
)
def test_a_mistake_gets_one_clear_error(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_a_name_without_a_parameter_may_get_one():
    module = nn.Module()
    module.register_parameter("bias", None)
    module.register_parameter("bias", nn.Parameter(np.ones(1)))
    assert list(module.state_dict()) == ["bias"]
