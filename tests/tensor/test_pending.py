"""Calls that join the one before them within a module: the same bits, in fewer passes, and nobody sees them wait."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gpunet
from gpunet import nn, ops
from gpunet.nn import functional as F
from gpunet.ops.base import Op
from gpunet.tensor import Parameter, Tensor
from gpunet.tensor.pending import waits


class Call(nn.Module):
    """A function as a module, within which calls may wait."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


@pytest.fixture
def ran(monkeypatch):
    """The names of the ops that are run, in order."""
    names, run = [], Op.run
    monkeypatch.setattr(Op, "run", lambda self, *args: names.append(self.__name__) or run(self, *args))
    return names


@pytest.fixture
def layer(be, rng):
    """Images, filters and biases that require gradients."""

    def values(*shape):
        return Parameter(be.from_numpy(rng.standard_normal(shape).astype(np.float32)))

    return values(2, 8, 9, 8), values(8, 8, 3, 3), values(8)


def results(be, function, leaves):
    """Return the output of a function and all gradients, on the host."""
    for leaf in leaves:
        leaf.grad = None
    y = function(*leaves)
    weights = np.linspace(-1, 1, y.numel(), dtype=np.float32).reshape(y.shape)
    y.backward(Tensor(be.from_numpy(weights)))
    return [be.to_numpy(array) for array in (y.array, *(leaf.grad.array for leaf in leaves))]


def kept(x, w, b):
    """Use an image both before and after pooling, as a network with skip connections does."""
    image = F.relu(F.conv2d(x, w, b, padding=1))
    return F.max_pool2d(image, 2).sum() * 0.5 + image.sum()


FUNCTIONS = {
    "relu": lambda x, w, b: F.relu(F.conv2d(x, w, b)),
    "pool": lambda x, w, b: F.max_pool2d(F.conv2d(x, w, b), 2),
    "relu-pool": lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2),
    "pool-relu": lambda x, w, b: F.relu(F.max_pool2d(F.conv2d(x, w, b), 2)),
    "relu-relu": lambda x, w, b: F.relu(F.relu(F.conv2d(x, w, b))),
    "relu-pool-pool": lambda x, w, b: F.max_pool2d(F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2), 2),
    "other-pool": lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b)), 3, 2),
    "indices": lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2, return_indices=True)[0],
    "sigmoid": lambda x, w, b: F.conv2d(x, w, b).sigmoid(),
    "conv-conv": lambda x, w, b: F.relu(F.conv2d(F.relu(F.conv2d(x, w, b)), w, b)),
    "linear": lambda x, w, b: F.relu(F.linear(x, w[:, 0, :, :1].reshape(3, 8)[:, :8])) + b.sum(),
    "kept": kept,
    "twice": lambda x, w, b: (lambda y: F.relu(y) + y)(F.conv2d(x, w, b)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_the_same_bits_as_outside_a_module(be, layer, name):
    expected = results(be, FUNCTIONS[name], layer)
    found = results(be, Call(FUNCTIONS[name]), layer)
    for got, want in zip(found, expected, strict=True):
        assert np.array_equal(got, want)
    with gpunet.no_grad():  # where nothing saves what is in between
        assert np.array_equal(be.to_numpy(Call(FUNCTIONS[name])(*layer).array), expected[0])


def test_calls_that_join_take_one_pass(be, layer, ran):
    def forward(x, w, b):
        x = F.conv2d(x, w, b)
        x = F.relu(x)
        assert ran == []
        return x

    Call(forward)(*layer)
    assert ran == ["conv2d"]


@pytest.mark.only_backends("emulated", "cupy")
def test_an_image_that_is_pooled_never_reaches_memory(be, layer):
    gpunet.set_float32_conv_precision("high")
    before = dict(be.launched)
    y = Call(FUNCTIONS["relu-pool"])(*layer)
    launched = {name: count - before.get(name, 0) for name, count in be.launched.items()}
    assert launched["halo_conv_max_pool"] == 1 and y.shape == (2, 8, 3, 3)
    assert not any(launched.get(name) for name in ("halo_conv_forward", "max_pool_forward", "relu_forward"))


def test_the_gradient_of_what_is_pooled_makes_no_image_again(be, layer, ran):
    y = Call(FUNCTIONS["relu-pool"])(*layer)
    y.backward(Tensor(be.from_numpy(np.ones(y.shape, np.float32))))
    in_one_pass: list[str] = []  # where no op runs by itself: on the CPU
    assert ran == (in_one_pass if be.name == "numpy" else ["conv2d", "max_pool2d", "relu"])
    assert repr(y.grad_fn) == "<relu backward>"


def test_what_is_still_held_is_made_once(be, layer, ran):
    y = Call(kept)(*layer)
    assert sorted(ran) == ["add", "conv2d", "max_pool2d", "mul", "sum", "sum"]
    assert y.shape == ()


def test_what_nobody_holds_is_never_made(be, layer, ran):
    def forward(x, w, b):
        F.relu(F.conv2d(x, w, b))
        return x

    Call(forward)(*layer)
    assert ran == []


def test_nothing_waits_outside_a_module(be, layer, ran):
    y = F.conv2d(*layer)
    assert ran == ["conv2d"] and not waits(ops.conv2d)
    z = Call(F.conv2d)(*layer)
    assert ran == ["conv2d", "conv2d"] and y.shape == z.shape


def test_nothing_waits_after_an_error_in_a_module(be, layer, ran):
    found = []

    def forward(x, w, b):
        found.append(F.conv2d(x, w, b))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Call(forward)(*layer)
    assert ran == ["conv2d"] and found[0].shape == (2, 8, 7, 6) and not waits(ops.conv2d)


def test_what_is_known_beforehand_is_told_without_making_it(be, layer, ran):
    def forward(x, w, b):
        y = F.max_pool2d(F.relu(F.conv2d(x, w, b)), 2)
        facts = y.shape, y.dtype, y.device, y.ndim, y.dim(), y.size(1), y.numel(), y.requires_grad, y.is_leaf
        assert ran == []
        return facts

    expected = (2, 8, 3, 3), np.dtype(np.float32), be.device, 4, 4, 8, 144, True, False
    assert Call(forward)(*layer) == expected


def test_a_mistake_is_reported_where_it_is_made(be, layer):
    def forward(x, w, b):
        with pytest.raises(gpunet.ShapeError, match="conv2d: the input's channels do not match"):
            F.conv2d(x[:, :3], w, b)
        return x

    Call(forward)(*layer)


@pytest.mark.parametrize("how", ["add_", "array", "weight", "detached", "statistics"])
def test_memory_that_is_read_later_may_be_written(be, layer, how):
    x, w, b = layer
    expected = be.to_numpy(F.relu(F.conv2d(x, w, b)).array)

    def forward(x, w, b):
        y = F.relu(F.conv2d(x, w, b))
        with gpunet.no_grad():
            if how == "add_":
                x.add_(1.0)
            elif how == "array":
                x.array[...] = 0
            elif how == "weight":
                w.zero_()
            elif how == "detached":
                w.detach().fill_(3.0)
            else:
                F.batch_norm(x, b.detach(), b.clone().detach(), training=True)
        return y

    assert np.array_equal(be.to_numpy(Call(forward)(x, w, b).array), expected)


def test_a_leaf_that_requires_a_gradient_has_a_value_of_its_own(be, layer):
    def forward(x, w, b):
        with gpunet.no_grad():
            image = F.relu(F.conv2d(x, w, b))
        image.requires_grad_()
        return image, F.max_pool2d(image, 2)

    image, y = Call(forward)(*layer)
    expected = Tensor(image.array, requires_grad=True)
    F.max_pool2d(expected, 2).sum().backward()
    y.sum().backward()
    assert np.array_equal(be.to_numpy(image.grad.array), be.to_numpy(expected.grad.array))
    assert layer[1].grad is None


def test_a_view_of_what_waits_makes_it(be, layer):
    expected = be.to_numpy(F.relu(F.conv2d(*layer)).flatten(1).array)
    assert np.array_equal(be.to_numpy(Call(lambda *args: F.relu(F.conv2d(*args)).flatten(1))(*layer).array), expected)


@pytest.mark.only_backends("numpy")
def test_inputs_are_let_go_once_the_output_is_made(be, layer):
    read = []

    def forward(x, w, b):
        with gpunet.no_grad():
            twice = x * 2.0
            read.append(weakref.ref(twice.array))
            return F.conv2d(twice, w, b)

    y = Call(forward)(*layer)
    gc.collect()
    assert read[0]() is None and y.shape == (2, 8, 7, 6)
