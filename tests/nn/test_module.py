"""Module: names, moving, saving, showing."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.models import CNN, MLP, TinyCNN


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))

    def forward(self, x):
        return self.rest(self.first(x))


def test_names_are_found_in_order():
    assert [name for name, _ in Block().named_parameters()] == ["first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in Block().named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]


def test_a_shared_parameter_counts_once():
    block = Block()
    block.again = block.first
    assert len(list(block.parameters())) == 3


def test_replaced_and_deleted_attributes_are_forgotten():
    block = Block()
    block.first = nn.ReLU()
    del block.rest
    assert list(block.parameters()) == [] and [type(m) for m in block.children()] == [nn.ReLU]


def test_assigning_before_init_is_refused():
    class Forgetful(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Forgetful: call super\(\)\.__init__\(\) before assigning 'fc'"):
        Forgetful()


def test_train_and_eval_reach_every_module():
    block = Block().eval()
    assert not any(module.training for module in block.modules())
    assert all(module.training for module in block.train().modules())


def test_parameters_stay_the_same_objects_when_moved(be):
    block = Block()
    before = list(block.parameters())
    block(gpunet.tensor(np.ones((1, 3), np.float32))).backward(gpunet.tensor([[1.0, 1.0]]))
    gradient = before[0].grad.numpy()
    assert block.to(be.device) is block
    assert all(a is b for a, b in zip(before, block.parameters(), strict=True))
    assert {parameter.device for parameter in before} == {be.device}
    assert np.array_equal(before[0].grad.cpu().numpy(), gradient)


def test_the_state_goes_round_between_devices_and_layouts(be):
    source, target = TinyCNN(), TinyCNN().to(be.device)
    target.load_state_dict(source.state_dict())
    for name, tensor in target.state_dict().items():
        assert np.array_equal(be.to_numpy(tensor.array), source.state_dict()[name].numpy()), name
    source.load_state_dict({name: np.ascontiguousarray(t.cpu().numpy()) for name, t in target.state_dict().items()})


def test_loading_checks_everything_before_the_first_write():
    model = MLP()
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    state = {name: np.ones_like(array) for name, array in before.items()}
    state["5.bias"] = np.ones(11, np.float32)
    with pytest.raises(gpunet.ShapeError, match=r"5\.bias: expected \(10,\), got \(11,\)"):
        model.load_state_dict(state)
    del state["5.bias"]
    state["6.bias"] = np.ones(1)
    with pytest.raises(KeyError, match=r"missing \['5\.bias'\], unknown \['6\.bias'\]"):
        model.load_state_dict(state)
    assert all(np.array_equal(model.state_dict()[name].numpy(), array) for name, array in before.items())


def test_the_text_is_pytorchs():
    assert repr(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))) == (
        "Sequential(\n"
        "  (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))\n"
        "  (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)\n"
        "  (2): Flatten(start_dim=1, end_dim=-1)\n"
        "  (3): Linear(in_features=8, out_features=2, bias=True)\n"
        ")"
    )


def test_layers_refuse_impossible_sizes():
    with pytest.raises(gpunet.ShapeError, match="groups must divide both channel counts"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(gpunet.ShapeError, match="sizes must be >= 1"):
        nn.Linear(0, 2)


def test_weights_lie_within_their_bounds_and_depend_on_the_seed_only():
    gpunet.manual_seed(5)
    first = CNN().state_dict()
    gpunet.manual_seed(5)
    second = CNN().state_dict()
    for name, tensor in first.items():
        assert np.array_equal(tensor.numpy(), second[name].numpy())
    weight = first["conv2.weight"].numpy()
    bound = 1 / np.sqrt(32 * 9)
    assert -bound <= weight.min() < -0.99 * bound and 0.99 * bound < weight.max() <= bound
    assert abs(first["conv2.bias"].numpy()).max() <= bound


def test_every_device_starts_with_the_same_bits(be):
    gpunet.manual_seed(1)
    direct = nn.Conv2d(2, 3, 3, device=be.device)
    gpunet.manual_seed(1)
    moved = nn.Conv2d(2, 3, 3).to(be.device)
    for a, b in zip(direct.parameters(), moved.parameters(), strict=True):
        assert be.to_numpy(a.array).tobytes() == be.to_numpy(b.array).tobytes()


@pytest.mark.torch
def test_the_cnn_takes_pytorchs_weights_and_gives_its_logits(torch):
    model = CNN()
    theirs = torch.nn.ModuleDict(
        {
            "conv1": torch.nn.Conv2d(1, 32, 3),
            "conv2": torch.nn.Conv2d(32, 64, 3),
            "fc1": torch.nn.Linear(9216, 128),
            "fc2": torch.nn.Linear(128, 10),
        }
    )
    assert list(theirs.state_dict()) == list(model.state_dict())
    model.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    h = torch.relu(theirs["conv1"](torch.tensor(x)))
    h = torch.max_pool2d(torch.relu(theirs["conv2"](h)), 2)
    expected = theirs["fc2"](torch.relu(theirs["fc1"](h.flatten(1)))).detach().numpy()
    np.testing.assert_allclose(model(gpunet.tensor(x)).detach().numpy(), expected, atol=1e-5)


def test_convolution_and_pooling_keep_channels_last_memory():
    x = gpunet.tensor(np.ones((2, 3, 6, 6), np.float32))
    y = nn.MaxPool2d(2)(nn.Conv2d(3, 5, 3)(x))
    assert gpunet.backend.layout_of(y.array) == "channels_last"
