"""What a user keeps of a step, later steps leave alone, whoever gets the memory of what was not kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunet
from gpunet import nn, optim
from gpunet.nn import functional as F

CHANNELS, PIXELS = 8, (34, 33)  # images of 70 KB, which come from the pool


def image(x, w, b):
    """Yield what a small network computes, from where calls join to where they do not."""
    yield (y := F.conv2d(x, w, b, padding=1))
    yield (z := F.relu(y))
    yield (p := F.max_pool2d(z, 2))
    yield (q := z + y)
    q.mul_(0.5)
    yield q.relu().permute(0, 2, 3, 1)
    yield p.flatten(1) * 2.0


def rows(x, w, b):
    """Yield the same of linear layers: views, and sums whose gradients are views."""
    flat = x.flatten(2)
    yield (y := F.linear(flat.reshape(-1, CHANNELS), w.flatten(1)[:, :CHANNELS], b))
    yield (z := F.relu(y))
    yield z[1:]
    yield (z - y).sum(0, keepdim=True) + y
    yield gpunet.cat([y, z]).mean(1)


class Network(nn.Module):
    """Gather what a function yields, within a module, where calls wait for each other."""

    def __init__(self, function, kept):
        super().__init__()
        self.function, self.kept = function, kept

    def forward(self, *tensors):
        found, loss = [], None
        for keep, tensor in zip(self.kept, self.function(*tensors), strict=False):
            if keep:
                found.append(tensor)
            part = tensor.mean()
            loss = part if loss is None else loss + part
        return loss, found


class Watched:
    """Arrays that must stay as they are now."""

    def __init__(self):
        self.pairs = []

    def keep(self, tensor):
        array = tensor.array
        self.pairs.append((array, array.copy()))

    def check(self):
        for array, before in self.pairs:
            assert np.array_equal(array, before)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([image, rows]),
        st.booleans(),  # within a module
        st.booleans(),  # gradients are cleared before
        st.lists(st.booleans(), min_size=6, max_size=6),  # which values are kept
    ),
    min_size=2,
    max_size=6,
)


def parameters(rng):
    shapes = (CHANNELS, CHANNELS, 3, 3), (CHANNELS,)
    return [nn.Parameter(gpunet.tensor(rng.standard_normal(shape).astype(np.float32))) for shape in shapes]


@given(steps=STEPS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_that_are_kept_never_change(steps, seed):
    rng, watched = np.random.default_rng(seed), Watched()
    trained, free = parameters(rng), parameters(rng)
    optimizer = optim.SGD(trained, lr=0.01, momentum=0.9)
    for function, within, cleared, kept in steps:
        if cleared:
            optimizer.zero_grad()
            for parameter in free:
                parameter.grad = None
        x = gpunet.tensor(rng.standard_normal((2, CHANNELS, *PIXELS)).astype(np.float32)).requires_grad_()
        network = Network(function, kept)
        for weights in (trained, free):
            loss, found = network(x, *weights) if within else network.forward(x, *weights)
            loss.backward()
            for tensor in (loss, *found):
                watched.keep(tensor)
        optimizer.step()
        watched.keep(x.grad)
        if cleared:  # else the next backward adds to it in place, as in PyTorch
            for parameter in free:
                watched.keep(gpunet.Tensor(parameter.grad.array))
                parameter.grad = None
    watched.check()


def test_the_gradient_of_a_trained_parameter_stays_until_the_next_backward(rng):
    weight, _ = parameters(rng)
    optimizer, gradients = optim.SGD([weight], lr=0.1), []
    for scale in (1.0, 2.0, 3.0):  # from the second step on, the optimizer has one memory for all gradients
        (weight * scale).sum().backward()
        gradients.append(weight.grad)
        optimizer.step()
        optimizer.zero_grad()
        assert (gradients[-1].array == scale).all()
    assert [float(gradient.array.flat[0]) for gradient in gradients] == [1.0, 3.0, 3.0]
