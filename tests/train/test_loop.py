from __future__ import annotations

import numpy as np
import pytest

from gpunet import nn, optim
from gpunet.data import DataLoader, TensorDataset
from gpunet.tensor import Tensor, no_grad
from gpunet.train import evaluate, fit


@pytest.fixture
def images(rng):
    return TensorDataset(rng.standard_normal((7, 4)).astype(np.float32), rng.integers(0, 3, 7))


class Run:
    """Stands in for a run folder."""

    def finish_epoch(self, model, row, confusion):
        self.row, self.confusion = row, confusion


def test_evaluation_adds_up_all_batches(images, be):
    model = nn.Linear(4, 3)
    logits = images.tensors[0] @ model.weight.detach().numpy().T + model.bias.detach().numpy()
    model.to(be.device)
    targets = images.tensors[1]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss, accuracy = evaluate(model, DataLoader(images, 3, device=be.device))
    assert loss == pytest.approx(-np.log(shares[np.arange(7), targets]).mean(), rel=1e-5)
    assert accuracy == (logits.argmax(axis=1) == targets).mean()


def test_the_run_gets_the_confusion_matrix_of_the_whole_test_set(images):
    model, run = nn.Linear(4, 3), Run()
    loader = DataLoader(images, 3)
    history = fit(model, loader, loader, optim.SGD(model.parameters(), 0.1), epochs=1, run=run, progress=False)
    logits = images.tensors[0] @ model.weight.detach().numpy().T + model.bias.detach().numpy()
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (images.tensors[1], logits.argmax(axis=1)), 1)
    assert np.array_equal(run.confusion, expected)
    assert history == [run.row] and run.row["test_accuracy"] == np.trace(expected) / 7


def test_an_empty_test_set_has_accuracy_0(images):
    empty = TensorDataset(*(array[:0] for array in images.tensors))
    assert evaluate(nn.Linear(4, 3), DataLoader(empty, 3)) == (0, 0)


def test_evaluation_leaves_the_mode_as_it_was(images):
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    for modes in ([True] * 3, [True, True, False], [False] * 3):  # the second: a batch norm that is frozen
        for module, training in zip(model.modules(), modes, strict=True):
            module.training = training
        evaluate(model, DataLoader(images, 3))
        assert [module.training for module in model.modules()] == modes


def test_training_batches_are_augmented_and_test_batches_are_not(images):
    model, seen = nn.Linear(4, 3), []

    def augment(x):
        assert model.training
        seen.append(x.shape[0])
        return Tensor(np.zeros_like(x.numpy()))

    weight = model.weight.detach().numpy().copy()
    loader = DataLoader(images, 3)
    fit(model, loader, loader, optim.SGD(model.parameters(), 0.1), epochs=2, augment=augment, progress=False)
    assert seen == [3, 3, 1] * 2
    assert np.array_equal(model.weight.detach().numpy(), weight), "inputs of zeros give the weight no gradient"


def test_a_schedule_scales_the_steps_and_leaves_the_optimizers_rates(images):
    class Recorded(optim.SGD):
        def step(self):
            rates.append([group["lr"] for group in self.param_groups])
            super().step()

    rates, model, loader = [], nn.Linear(4, 3), DataLoader(images, 4)
    optimizer = Recorded([{"params": [model.weight]}, {"params": [model.bias], "lr": 8.0}], lr=4.0)
    for _ in range(2):
        fit(model, loader, loader, optimizer, epochs=2, schedule=lambda done: 1 - done, progress=False)
    assert rates == [[4, 8], [3, 6], [2, 4], [1, 2]] * 2
    assert [group["lr"] for group in optimizer.param_groups] == [4, 8]


def test_the_loss_of_16_bits_is_averaged_over_any_number_of_batches():
    images = TensorDataset(np.zeros((2100, 1), np.float16), np.zeros(2100, np.int64))
    model, loader = nn.Linear(1, 2).half(), DataLoader(images, 1)
    with no_grad():
        model.bias.zero_()
    row = fit(model, loader, DataLoader(images, 300), optim.SGD(model.parameters(), 0.0), epochs=1, progress=False)[0]
    assert row["train_loss"] == pytest.approx(np.log(2), rel=1e-3)
