from __future__ import annotations

import numpy as np
import pytest

from gpunet.data import Dataset, Subset, TensorDataset
from gpunet.errors import DTypeError, ShapeError


class Plain(Dataset):
    """Without the fast path."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return index * 10


@pytest.fixture
def dataset():
    return TensorDataset(np.arange(30.0).reshape(5, 3, 2), np.array([5, 6, 7, 8, 9]))


def test_dataset_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Dataset()


def test_tensor_dataset_example_holds_one_element_of_each_array(dataset):
    image, label = dataset[3]
    assert image.tolist() == [[18, 19], [20, 21], [22, 23]]
    assert label == 8
    assert len(dataset) == 5


def test_tensor_dataset_gathers_a_batch_that_owns_its_memory(dataset):
    images, labels = dataset.__getitems__([4, 0, 4])
    assert labels.tolist() == [9, 5, 9]
    assert images[:, 0, 0].tolist() == [24, 0, 24]
    images[:] = -1
    assert dataset[4][0][0, 0] == 24


def test_tensor_dataset_is_a_sequence(dataset):
    assert [label for _, label in dataset] == [5, 6, 7, 8, 9]
    with pytest.raises(IndexError):
        dataset[5]


@pytest.mark.parametrize("arrays", [(), (np.zeros(()),), (np.zeros((3, 2)), np.zeros(4, np.int64))])
def test_tensor_dataset_refuses_unequal_lengths(arrays):
    with pytest.raises(ShapeError, match="the arrays do not have the same length") as caught:
        TensorDataset(*arrays)
    if len(arrays) == 2:
        assert "arrays[1]  (4) int64 cpu" in str(caught.value)


@pytest.mark.parametrize("wrong", [[1, 2], "text", None])
def test_tensor_dataset_refuses_other_types(wrong):
    with pytest.raises(DTypeError, match="argument 1 is not a NumPy array") as caught:
        TensorDataset(np.zeros(2), wrong)
    assert f"got builtins.{type(wrong).__name__}\n  hint: convert with" in str(caught.value)


@pytest.mark.parametrize("whole", [Plain(), TensorDataset(np.arange(5) * 10)], ids=["plain", "fast"])
def test_subset_renumbers(whole):
    subset = Subset(whole, [3, 1, 3])
    assert len(subset) == 3
    assert np.ravel([subset[place] for place in range(3)]).tolist() == [30, 10, 30]
    assert np.ravel(subset.__getitems__(np.array([2, 1]))).tolist() == [30, 10]
    assert np.ravel(Subset(subset, [1]).__getitems__([0])).tolist() == [10]


def test_subset_may_be_empty():
    assert len(Subset(Plain(), [])) == 0


@pytest.mark.parametrize("wrong", [-1, 5])
def test_subset_refuses_an_index_out_of_range(wrong):
    with pytest.raises(IndexError, match=f"expected 0 to 4, the places in the dataset, got {wrong}"):
        Subset(Plain(), [0, wrong])


@pytest.mark.parametrize("wrong", [[0.5], [True, False], [[1]], 3])
def test_subset_refuses_what_is_not_a_list_of_integers(wrong):
    with pytest.raises(TypeError, match="not a list of integers"):
        Subset(Plain(), wrong)
