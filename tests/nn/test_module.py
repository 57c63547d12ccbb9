"""Module: names, moving, saving, showing."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.models import CNN, MLP, TinyCNN
from gpunet.tensor import Tensor


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


@pytest.mark.torch
def test_modules_are_walked_as_in_pytorch(torch):
    def walk(nn):
        shared = nn.ReLU()
        net = nn.Sequential(nn.Linear(1, 2), shared, nn.Sequential(nn.Linear(2, 2), shared), shared)
        seen = []
        assert net.apply(lambda module: seen.append(type(module).__name__)) is net
        yield seen
        yield [name for name, _ in net.named_children()], len(list(net.children())), len(net), len(list(net))
        yield [name for name, _ in net.named_parameters(prefix="net")]
        yield [name for name, _ in net[0].named_parameters("fc", recurse=False)]
        yield len(list(net.parameters(recurse=False))), len(list(net[0].parameters(False)))

    assert list(walk(nn)) == list(walk(torch.nn))


def test_a_module_that_is_there_twice_is_called_twice(be):
    class AddOne(nn.Module):
        def forward(self, x):
            return x + 1

    add = AddOne()
    assert nn.Sequential(add, nn.ReLU(), add)(Tensor(be.zeros((1,), np.float32))).item() == 2


def test_replaced_and_deleted_attributes_are_forgotten():
    block = Block()
    block.first = nn.ReLU()
    del block.rest
    assert list(block.parameters()) == [] and [type(m) for m in block.children()] == [nn.ReLU]


@pytest.mark.torch
def test_a_replacement_takes_the_place_of_what_it_replaces(torch):
    def order(nn, parameter):
        net = nn.Sequential()
        net.first, net.last, net.norm = nn.Linear(3, 4), nn.Linear(4, 2), nn.BatchNorm1d(2)
        net.first, net.norm.weight = nn.Linear(5, 4), parameter
        return [(name, tuple(value.shape)) for name, value in net.state_dict().items()], repr(net)

    ours = order(nn, nn.Parameter(np.ones(2, np.float32)))
    assert ours == order(torch.nn, torch.nn.Parameter(torch.ones(2)))


def test_nothing_else_takes_the_name_of_a_parameter_or_module():
    block = Block()
    for assign, text in (
        (lambda: setattr(block.first, "weight", gpunet.tensor([1.0])), "Linear: 'weight' is a Parameter, and a Tensor"),
        (lambda: setattr(block, "first", 3), "Block: 'first' is a Module, and a int would hide it"),
        (lambda: block.register_parameter("new", gpunet.tensor([1.0])), "expected a Parameter or None for 'new'"),
        (lambda: nn.Sequential(nn.ReLU(), len), "add_module: expected a Module for '1', got builtin_function"),
    ):
        with pytest.raises(TypeError, match=text):
            assign()
    assert len(list(block.parameters())) == 3 and not hasattr(block, "new")
    block.first.bias = None
    assert list(block.state_dict()) == ["first.weight", "rest.1.weight"]


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


def test_a_submodule_may_stay_in_evaluation():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(Frozen(nn.Dropout()), nn.Dropout()).train()
    assert [module.training for module in net.modules()] == [True, False, False, True]


def test_parameters_stay_the_same_objects_when_moved(be):
    block = Block()
    before = list(block.parameters())
    block(gpunet.tensor(np.ones((1, 3), np.float32))).backward(gpunet.tensor([[1.0, 1.0]]))
    gradient = before[0].grad.numpy()
    assert block.to(be.device) is block
    assert all(a is b for a, b in zip(before, block.parameters(), strict=True))
    assert {parameter.device for parameter in before} == {be.device}
    assert np.array_equal(before[0].grad.cpu().numpy(), gradient)


def test_a_module_goes_to_a_device_and_a_dtype_in_one_call(be):
    model = nn.BatchNorm1d(2)
    weight = model.weight
    for move in (
        lambda: model.to(be.device, gpunet.float64),
        lambda: model.to(dtype="float64", device=be.device, non_blocking=True),
        lambda: model.to(gpunet.tensor(1.0, "float64", be.device)),
    ):
        assert model.cpu().float().weight.dtype == np.float32 and move() is model
        assert model.weight is weight and (weight.device, weight.dtype) == (be.device, np.float64)
        assert model.running_mean.dtype == np.float64 and model.num_batches_tracked.dtype == np.int64
    assert model.to(np.float16).weight.dtype == np.float16
    with pytest.raises(gpunet.DTypeError, match="to: a module takes a floating-point dtype, got int64"):
        model.to(gpunet.int64)


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
    with pytest.raises(
        RuntimeError, match=r"the names differ\.\n  missing: \['5\.bias'\]\n  unexpected: \['6\.bias'\]"
    ):
        model.load_state_dict(state)
    assert all(np.array_equal(model.state_dict()[name].numpy(), array) for name, array in before.items())


@pytest.mark.torch
def test_a_value_that_numpy_does_not_take_is_named_before_the_first_write(torch):
    layer = nn.Linear(3, 2)
    before = layer.weight.tolist()
    for bad in (torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, requires_grad=True), np.array(["a", "b"])):
        with pytest.raises(TypeError, match=r"'bias' does not become a NumPy array: (.|\n)*hint: value\.detach\(\)"):
            layer.load_state_dict({"weight": np.ones((2, 3)), "bias": bad})
        assert layer.weight.tolist() == before


@pytest.mark.torch
def test_loading_a_part_says_what_was_left_out_as_pytorch_does(torch):
    results = []
    for framework, ones in ((gpunet, np.ones), (torch, torch.ones)):
        model = framework.nn.Sequential(framework.nn.Linear(3, 2), framework.nn.Linear(2, 1))
        missing, unexpected = model.load_state_dict({"1.weight": ones((1, 2)), "2.bias": ones(1)}, strict=False)
        assert model[1].weight.detach().numpy().tolist() == [[1, 1]]
        results.append((missing, unexpected))
    assert results[0] == results[1] == (["0.weight", "0.bias", "1.bias"], ["2.bias"])


def test_only_a_mapping_to_arrays_is_loaded():
    with pytest.raises(TypeError, match="expected a dict of Tensors or arrays, got list"):
        nn.Linear(1, 1).load_state_dict([])
    with pytest.raises(TypeError, match="'bias' is no Tensor or array, got list"):
        nn.Linear(1, 1).load_state_dict({"weight": np.ones((1, 1)), "bias": [1.0]})


@pytest.mark.torch
def test_a_part_of_a_sequential_is_pytorchs(torch):
    def layers(framework):
        return framework.nn.Sequential(framework.nn.Flatten(), framework.nn.Linear(3, 2), framework.nn.ReLU())

    ours, theirs = layers(gpunet), layers(torch)
    assert repr(ours[1:]) == repr(theirs[1:]) and list(ours[1:].state_dict()) == list(theirs[1:].state_dict())
    assert ours[1:][0] is ours[1] and len(MLP()[:2]) == 2


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_layers_start_in_16_bits_with_the_rounded_weights(be, dtype):
    dtype = getattr(gpunet, dtype)
    for make in (lambda **kwargs: nn.Linear(3, 2, **kwargs), lambda **kwargs: nn.Conv2d(2, 3, 3, **kwargs)):
        gpunet.manual_seed(1)
        direct = make(device=be.device, dtype=dtype)
        gpunet.manual_seed(1)
        converted = make()._astype(dtype)
        for a, b in zip(direct.parameters(), converted.parameters(), strict=True):
            assert a.dtype == dtype and be.to_numpy(a.array).tobytes() == b.detach().numpy().tobytes()


def test_integers_are_not_initialised():
    with pytest.raises(gpunet.DTypeError, match="random numbers are not made in this dtype"):
        nn.init.uniform_(gpunet.tensor([1, 2]))


def test_every_device_starts_with_the_same_bits(be):
    gpunet.manual_seed(1)
    direct = nn.Conv2d(2, 3, 3, device=be.device)
    gpunet.manual_seed(1)
    moved = nn.Conv2d(2, 3, 3).to(be.device)
    for a, b in zip(direct.parameters(), moved.parameters(), strict=True):
        assert be.to_numpy(a.array).tobytes() == be.to_numpy(b.array).tobytes()


@pytest.mark.torch
def test_the_cnn_takes_pytorchs_weights_and_gives_its_logits(torch):
    model = CNN().eval()
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


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Block()
        self.register_buffer("scale", gpunet.tensor([1.0, 2.0]))
        self.weight = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("count", gpunet.tensor(7))
        self.register_buffer("nothing", None)
        self.register_buffer("scratch", gpunet.tensor([0.5]), persistent=False)


def test_buffers_are_found_and_saved_before_the_children():
    module = Counting()
    assert [name for name, _ in module.named_buffers()] == ["scale", "count", "scratch"]
    assert len(list(nn.Sequential(module, module).buffers())) == 3
    assert list(module.state_dict())[:3] == ["weight", "scale", "count"]
    assert list(module.state_dict())[3:] == [f"inner.{name}" for name, _ in module.inner.named_parameters()]
    assert not any(isinstance(buffer, nn.Parameter) for buffer in module.buffers()) and module.nothing is None


@pytest.mark.torch
def test_the_order_and_names_of_a_state_are_pytorchs(torch):
    def build(framework):
        shared = framework.nn.Linear(2, 2)
        pair = framework.nn.Sequential(framework.nn.BatchNorm1d(2), shared)
        return framework.nn.Sequential(pair, framework.nn.Sequential(shared, framework.nn.BatchNorm1d(2)), pair)

    theirs, ours = build(torch), build(gpunet)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))
    assert len(list(ours.modules())) == len(list(theirs.modules()))
    for both in ({}, {"remove_duplicate": False}):
        assert [name for name, _ in ours.named_modules(**both)] == [name for name, _ in theirs.named_modules(**both)]
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})


def test_buffers_move_and_integers_keep_their_dtype(be):
    module = Counting().to(be.device)
    assert {buffer.device for buffer in module.buffers()} == {be.device}
    for convert, dtype in ((module.half, "float16"), (module.bfloat16, "bfloat16"), (module.double, "float64")):
        assert convert() is module
        assert module.scale.dtype == module.scratch.dtype == module.weight.dtype == dtype
        assert module.count.dtype == np.int64
    assert be.to_numpy(module.scale.array).tolist() == [1, 2] and be.to_numpy(module.count.array) == 7


def test_gradients_are_converted_with_their_parameters(be):
    layer = nn.Linear(3, 2).to(be.device)
    layer(gpunet.tensor([[1.0, 2.0, 3.0]], device=be.device)).sum().backward()
    kept = layer.weight.array, layer.weight.grad.array
    layer.float()
    assert layer.weight.array is kept[0] and layer.weight.grad.array is kept[1], "float32 it is already"
    layer.double()
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == np.float64
    assert be.to_numpy(layer.weight.grad.array).tolist() == [[1, 2, 3]] * 2


def test_buffers_are_loaded_into_the_same_tensors(be):
    module = Counting().to(be.device)
    scale, count = module.scale, module.count
    state = {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}
    module.load_state_dict({**state, "scale": np.array([3.0, 4.0]), "count": np.array(9)})
    assert module.scale is scale and be.to_numpy(scale.array).tolist() == [3, 4]
    assert module.count is count and be.to_numpy(count.array) == 9 and count.dtype == np.int64
    with pytest.raises(RuntimeError, match=r"missing: \['count'\]\n  unexpected: \['scratch'\]"):
        module.load_state_dict({**{name: state[name] for name in state if name != "count"}, "scratch": np.ones(1)})


def test_buffers_are_replaced_deleted_and_overridden_by_assignment():
    module = Counting()
    module.scale, module.scratch = gpunet.tensor([5.0]), None
    assert [name for name, _ in module.named_buffers()] == ["scale", "count"]
    module.scratch = gpunet.tensor([1.0])
    assert "scratch" not in module.state_dict(), "a buffer stays out of the state when it is replaced"
    del module.count
    module.scale = nn.Parameter(np.ones(1, np.float32))
    assert [name for name, _ in module.named_buffers()] == ["scratch"]
    assert "scale" in dict(module.named_parameters())


def test_impossible_buffers_are_refused():
    module = Counting()
    with pytest.raises(KeyError, match="register_buffer: Counting has an attribute 'weight' already"):
        module.register_buffer("weight", gpunet.tensor([1.0]))
    for assign in (lambda: module.register_buffer("new", np.ones(2)), lambda: setattr(module, "scale", 3)):
        with pytest.raises(TypeError, match=r"register_buffer: expected a Tensor or None for '(new|scale)', got"):
            assign()
    assert not hasattr(module, "new")
