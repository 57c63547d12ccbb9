"""Same seed, same bits: across backends where that is promised, run to run, and for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import data, models, nn, ops, optim
from gpunet.backend import Device, blas, get
from gpunet.backend.random import SHUFFLE, Generator, raw_words
from tests.cases.random import DRAW, SHAPES, mask, uniform_makes_the_bits_of_the_host
from tests.harness.case import FLOATS
from tests.harness.memory import VARIANTS

STEPS = 20


class Regularised(nn.Sequential):
    """Batch norm, and dropout of channels and of elements: what keeps state, and what takes random numbers."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(144, 10),
        )


each_model = pytest.mark.parametrize("model", [models.TinyCNN, Regularised])


def train(device, dtype, steps=STEPS, model=models.TinyCNN):
    """Train a small network; return losses, and final weights and buffers on the host."""
    gpunet.manual_seed(11)
    model = model()
    if dtype == np.float64:
        model.double()
    model.to(device)
    rng = np.random.default_rng(5)
    images, labels = rng.standard_normal((40, 1, 28, 28)).astype(dtype), rng.integers(0, 10, 40)
    loader = data.DataLoader(data.TensorDataset(images, labels), batch_size=8, shuffle=True, device=device)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    while len(losses) < steps:
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return np.array(losses), {name: t.cpu().numpy().copy() for name, t in model.state_dict().items()}


@each_model
@pytest.mark.parametrize(("dtype", "loss_error", "weight_error"), [(np.float32, 1e-4, 1e-3), (np.float64, 1e-12, 1e-9)])
def test_twenty_steps_agree_with_numpy(be, model, dtype, loss_error, weight_error):
    expected_losses, expected = train(Device("cpu"), dtype, model=model)
    losses, weights = train(be.device, dtype, model=model)
    assert np.abs(losses / expected_losses - 1).max() <= loss_error
    assert losses[-1] < losses[0]
    for name, weight in weights.items():
        assert np.abs(weight - expected[name]).max() <= weight_error, name


@each_model
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_runs_give_the_same_bits(be, model, dtype):
    (losses, weights), (again, weights_again) = (train(be.device, dtype, 5, model) for _ in range(2))
    assert losses.tobytes() == again.tobytes()
    assert all(weights[name].tobytes() == weights_again[name].tobytes() for name in weights)


@pytest.fixture
def any_threads():
    yield
    blas.set_threads(0)


@pytest.mark.only_backends("numpy")
def test_one_and_two_threads_give_the_same_bits(be, any_threads):
    rng = np.random.default_rng(0)
    images = gpunet.tensor(rng.standard_normal((40, 1, 28, 28)).astype(np.float32))
    labels = gpunet.tensor(rng.integers(0, 10, 40))
    results = []
    for threads in (1, 2, 3):
        blas.set_threads(threads)
        gpunet.manual_seed(2)
        model = models.CNN()
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        results.append(b"".join(t.numpy().tobytes() for t in model.state_dict().values()))
    assert results[0] == results[1] == results[2]


@pytest.mark.only_backends("emulated")
def test_any_number_of_workers_gives_the_same_bits(be):
    from gpunet import emulator

    results = []
    for workers in (1, 2, 3):
        with emulator.configure(workers=workers):
            results.append(train(be.device, np.float32, 3)[0].tobytes())
    assert results[0] == results[1] == results[2]


def test_the_shuffle_order_depends_on_the_seed_only(be):
    values = np.arange(30.0)
    orders = []
    for device in (Device("cpu"), be.device):
        gpunet.manual_seed(4)
        loader = data.DataLoader(data.TensorDataset(values), batch_size=7, shuffle=True, device=device)
        target = get(device)
        orders.append([np.concatenate([target.to_numpy(x.array) for (x,) in loader]).tolist() for _ in range(2)])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1] and sorted(orders[0][0]) == values.tolist()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masks_are_those_of_the_words_whatever_the_dtype_and_layout(be, dtype, shape):
    kept = np.broadcast_to(mask(shape, 0.4), shape)
    for variant in VARIANTS.values():
        y = ops.dropout(variant(be, np.ones(shape, dtype)), 0.4, generator=DRAW)
        assert np.array_equal(be.to_numpy(y) != 0, kept)


@pytest.mark.only_backends("emulated", "cupy")
def test_uniform_numbers_have_the_same_bits_on_every_device(be):
    uniform_makes_the_bits_of_the_host(be)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
def test_permutations_are_the_stable_order_of_the_words(be, n):
    words = raw_words(4, SHUFFLE, 0, n).tolist()
    loader = data.DataLoader(
        data.TensorDataset(np.arange(float(n))), batch_size=5, shuffle=True, device=be.device, generator=Generator(4)
    )
    order = [int(i) for (x,) in loader for i in be.to_numpy(x.array)]
    assert order == sorted(range(n), key=words.__getitem__)
