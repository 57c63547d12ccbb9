from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet.errors import DTypeError, ShapeError
from gpunet.viz import confusion_matrix, draw_confusion, recall


def test_rows_are_true_classes_and_columns_are_predictions(rng):
    targets, predictions = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    expected = np.zeros((5, 5), np.int64)
    for target, prediction in zip(targets, predictions, strict=True):
        expected[target, prediction] += 1
    counts = confusion_matrix(targets, predictions)
    assert counts.dtype == np.int64 and np.array_equal(counts, expected)
    assert not np.array_equal(counts, counts.T)


def test_classes_that_never_occur_have_rows_and_columns():
    assert confusion_matrix([0, 2], [0, 0], num_classes=4).tolist() == [[1, 0, 0, 0], [0] * 4, [1, 0, 0, 0], [0] * 4]
    assert confusion_matrix([], [], num_classes=2).tolist() == [[0, 0], [0, 0]]


def test_small_integer_dtypes_do_not_overflow():
    targets = np.full(3, 200, np.uint8)
    assert confusion_matrix(targets, targets)[200, 200] == 3


def test_device_arrays_are_counted_on_the_host(be):
    targets, predictions = be.from_numpy(np.array([0, 1, 1])), be.from_numpy(np.array([1, 1, 1]))
    assert confusion_matrix(gpunet.Tensor(targets), predictions).tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("targets", "predictions", "classes", "error", "text"),
    [
        ([0, 1], [0], None, ShapeError, r"\(N,\) and \(N,\), got \(2,\) and \(1,\)"),
        ([[0], [1]], [[0], [1]], None, ShapeError, r"got \(2, 1\) and \(2, 1\)"),
        ([0.0], [0], None, DTypeError, "targets are not class indices.\n  expected integers, got float64"),
        ([0], [True], None, DTypeError, "predictions are not class indices.\n  expected integers, got bool"),
        ([0, 3], [0, 0], 3, ValueError, "a class index is out of range.\n  expected 0 to 2, got 3"),
        ([0, 0], [-1, 0], 3, ValueError, "expected 0 to 2, got -1"),
    ],
)
def test_what_cannot_be_counted_is_refused(targets, predictions, classes, error, text):
    with pytest.raises(error, match=text):
        confusion_matrix(targets, predictions, classes)


def test_recall_is_the_share_of_each_row_and_nan_for_an_empty_one():
    shares = recall(np.array([[3, 1, 0], [0, 0, 0], [2, 0, 2]]))
    assert shares[[0, 2]].tolist() == [0.75, 0.5] and np.isnan(shares[1])


def test_the_drawing_shows_counts_at_their_places_and_recall(axes):
    draw_confusion(axes, np.array([[3, 1], [0, 0]]), classes=["cat", "dog"])
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts["3"] == (0, 0) and texts["1"] == (1, 0) and "0" not in texts
    assert texts["75.0 %"][1] == 0 and texts["none"][1] == 1
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true class")


def test_hits_are_green_and_the_commonest_mistake_is_the_reddest(axes):
    draw_confusion(axes, np.array([[9, 1, 0], [4, 5, 0], [0, 0, 9]]))
    colours = axes.get_images()[0].get_array()
    red, green = colours[..., 0], colours[..., 1]
    assert (np.diagonal(green) > np.diagonal(red)).all()
    assert red[1, 0] > green[1, 0] and green[1, 0] == green[~np.eye(3, dtype=bool)].min()
    assert (colours[0, 2] == 1).all()


@pytest.mark.parametrize(("counts", "classes"), [(np.ones((2, 3)), None), (np.ones((2, 2)), ["a"]), (np.ones(0), None)])
def test_counts_that_are_not_square_are_refused(axes, counts, classes):
    with pytest.raises(ShapeError, match=r"expected \(C, C\) and C classes"):
        draw_confusion(axes, counts, classes)
