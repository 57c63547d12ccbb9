from __future__ import annotations

import numpy as np
import pytest

from gpunet.backend.random import Generator, default_generator
from gpunet.data import DataLoader, Dataset, Subset, TensorDataset, default_collate
from gpunet.errors import DTypeError, ShapeError
from gpunet.tensor import Tensor


class Examples(Dataset):
    """Examples made one by one by a function."""

    def __init__(self, make, size=5):
        self.make, self.size = make, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.make(index)


@pytest.fixture
def dataset():
    return TensorDataset(np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7))


def labels_of(loader):
    return [labels.tolist() for _, labels in loader._batches()]


@pytest.mark.parametrize(
    ("size", "batch_size", "drop_last", "expected"),
    [
        (7, 3, False, [[0, 1, 2], [3, 4, 5], [6]]),
        (7, 3, True, [[0, 1, 2], [3, 4, 5]]),
        (6, 3, True, [[0, 1, 2], [3, 4, 5]]),
        (2, 5, False, [[0, 1]]),
        (2, 5, True, []),
        (0, 5, False, []),
        (2, 1, False, [[0], [1]]),
    ],
)
def test_loader_cuts_batches_in_order(size, batch_size, drop_last, expected):
    dataset = TensorDataset(np.zeros((size, 2)), np.arange(size))
    loader = DataLoader(dataset, batch_size, drop_last=drop_last)
    assert labels_of(loader) == expected
    assert len(loader) == len(expected)
    assert loader.dataset is dataset


def test_loader_yields_tensors_on_the_device(dataset, be):
    device = str(be.device) if be.device.type != "cpu" else None
    batches = list(DataLoader(dataset, 4, device=device))
    images, labels = batches[1]
    assert isinstance(batches[1], tuple)
    assert isinstance(images, Tensor)
    assert images.device == be.device
    assert images.cpu().numpy().tolist() == [[8, 9], [10, 11], [12, 13]]
    assert labels.cpu().numpy().dtype == np.int64


def test_loader_batches_do_not_share_memory_with_the_dataset(dataset):
    images, _ = next(iter(DataLoader(dataset, 7)))
    assert not np.shares_memory(images.numpy(), dataset.tensors[0])


def test_loader_shuffle_takes_one_permutation_per_epoch(dataset):
    loader = DataLoader(dataset, 3, shuffle=True, generator=Generator(5))
    twin = Generator(5)
    for _ in range(3):
        assert np.concatenate(labels_of(loader)).tolist() == twin.permutation(7).tolist()
    assert loader.generator.get_state() == twin.get_state()


def test_loader_draws_the_order_when_iteration_begins(dataset):
    generator = Generator(5)
    epoch = iter(DataLoader(dataset, 3, shuffle=True, generator=generator))
    assert generator.get_state()["shuffle"] == 1
    assert len(list(epoch)) == 3
    assert generator.get_state()["shuffle"] == 1


def test_loader_shuffle_follows_the_default_generator(dataset):
    expected = Generator(0).permutation(7).tolist()
    assert np.concatenate(labels_of(DataLoader(dataset, 2, shuffle=True))).tolist() == expected
    assert default_generator.get_state()["shuffle"] == 1


def test_loader_resumes_from_the_state_of_the_generator(dataset):
    loader = DataLoader(dataset, 2, shuffle=True, generator=Generator(1))
    labels_of(loader)
    state = loader.generator.get_state()
    second_epoch = labels_of(loader)
    resumed = DataLoader(dataset, 2, shuffle=True, generator=Generator(0))
    resumed.generator.set_state(state)
    assert labels_of(resumed) == second_epoch


def test_loader_in_order_draws_nothing(dataset):
    generator = Generator(0)
    labels_of(DataLoader(dataset, generator=generator))
    assert generator.get_state() == Generator(0).get_state()


def test_loader_takes_an_empty_dataset_with_shuffle():
    loader = DataLoader(TensorDataset(np.zeros((0, 2))), 3, shuffle=True)
    assert len(loader) == 0
    assert list(loader) == []


def test_loader_gathers_each_batch_in_one_call(dataset):
    calls = []

    class Counting(TensorDataset):
        def __getitems__(self, indices):
            calls.append(len(indices))
            return super().__getitems__(indices)

        def __getitem__(self, index):
            raise AssertionError("the fast path was not taken")

    for _ in DataLoader(Subset(Counting(*dataset.tensors), [6, 2, 4]), 2):
        pass
    assert calls == [2, 1]


def test_loader_collates_the_list_that_a_pytorch_style_getitems_returns():
    class Batched(Examples):
        def __getitems__(self, indices):
            return [self[index] for index in indices.tolist()]

    (images, labels), _ = DataLoader(Batched(lambda i: (np.full(2, i), i)), 3)._batches()
    assert images.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert labels.tolist() == [0, 1, 2]


def test_loader_takes_a_plain_list():
    assert [batch.tolist() for batch in DataLoader([1.5, 2.5, 3.5], 2)._batches()] == [[1.5, 2.5], [3.5]]


def test_a_collate_fn_gets_examples_from_a_dataset_that_makes_batches_too(dataset):
    def flipped(examples):
        return default_collate([(-image, label) for image, label in examples])

    for whole in (dataset, Subset(dataset, range(7))):
        images, labels = next(iter(DataLoader(whole, 2, collate_fn=flipped)))
        assert images.numpy().tolist() == [[0, -1], [-2, -3]] and labels.numpy().tolist() == [0, 1]


def test_loader_uses_the_given_collate_fn():
    loader = DataLoader(Examples(lambda i: "abcde"[i]), 2, collate_fn=lambda examples: np.array([*map(ord, examples)]))
    assert [batch.numpy().tolist() for batch in loader] == [[97, 98], [99, 100], [101]]


def test_loader_keeps_dicts():
    batch = next(iter(DataLoader(Examples(lambda i: {"x": np.zeros(3), "y": i}), 2)))
    assert {key: value.shape for key, value in batch.items()} == {"x": (2, 3), "y": (2,)}


@pytest.mark.parametrize(
    ("example", "dtype"),
    [
        (3, np.int64),
        (2.5, np.float64),
        (True, np.bool_),
        (np.float32(1), np.float32),
        (np.zeros(2, np.uint8), np.uint8),
    ],
)
def test_collate_has_the_dtypes_of_pytorch(example, dtype):
    assert default_collate([example, example]).dtype == dtype


def test_collate_goes_inside_containers():
    batch = default_collate([(1, [2.0, {"a": np.zeros(3)}]), (4, [5.0, {"a": np.ones(3)}])])
    assert batch[0].tolist() == [1, 4]
    assert batch[1][0].tolist() == [2, 5]
    assert batch[1][1]["a"].tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("examples", "text"),
    [
        ([np.zeros((2, 3)), np.zeros((3, 2))], r"examples 0 and 1 of a batch(?s:.)*\[1\]  \(3, 2\) float64"),
        ([(1, 2), (1, 2, 3)], "tuple of 2(?s:.)*tuple of 3"),
        ([{"a": 1}, {"b": 1}], "dict with keys a(?s:.)*dict with keys b"),
        ([(1,), 5], "tuple of 1(?s:.)*int"),
    ],
)
def test_collate_refuses_examples_that_differ(examples, text):
    with pytest.raises(ShapeError, match=text):
        default_collate(examples)


@pytest.mark.parametrize("example", ["text", None, {1, 2}])
def test_collate_refuses_what_is_no_array(example):
    with pytest.raises(DTypeError, match=f"got {type(example).__name__}(?s:.)*collate_fn="):
        default_collate([example])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "expected an integer >= 1, got 0"),
        ({"batch_size": -3}, ValueError, "expected an integer >= 1, got -3"),
        ({"batch_size": 2.0}, TypeError, "expected an integer >= 1, got 2.0"),
        ({"batch_size": None}, TypeError, "batch_size is not an integer"),
        ({"batch_size": True}, TypeError, "batch_size is not an integer"),
        ({"shuffle": 1}, TypeError, "shuffle is not a bool.\n  expected True or False, got 1"),
        ({"shuffle": None}, TypeError, "shuffle is not a bool"),
        ({"drop_last": "no"}, TypeError, "drop_last is not a bool"),
        ({"num_workers": 2}, ValueError, "in process only.\n  expected num_workers=0, got 2"),
        ({"dataset": iter([1])}, TypeError, "the dataset cannot be indexed.*\n.*got list_iterator"),
    ],
)
def test_loader_refuses_wrong_arguments(dataset, arguments, error, text):
    with pytest.raises(error, match=text):
        DataLoader(**{"dataset": dataset, **arguments})


@pytest.mark.torch
def test_loader_agrees_with_pytorch(torch):
    theirs = torch.utils.data.DataLoader([(float(i), i) for i in range(5)], 2, drop_last=True)
    ours = DataLoader([(float(i), i) for i in range(5)], 2, drop_last=True)
    assert len(ours) == len(theirs)
    for our_batch, their_batch in zip(ours._batches(), theirs, strict=True):
        for our_array, their_tensor in zip(our_batch, their_batch, strict=True):
            assert our_array.dtype == their_tensor.numpy().dtype
            assert our_array.tolist() == their_tensor.tolist()
