"""Datasets: numbered examples in host memory; the loader moves the batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from gpunet.errors import DTypeError, ShapeError, describe, layout_message

__all__ = ["Dataset", "Subset", "TensorDataset"]

T_co = TypeVar("T_co", covariant=True)


class Dataset(ABC, Generic[T_co]):
    """Examples numbered 0 ... len - 1; a subclass defines `__len__` and `__getitem__`.

    A dataset may also offer `__getitems__(indices)`, which returns many examples in one call: as one batch (an
    array, or a tuple or dict of arrays), or, as in PyTorch, as a list of examples for the loader to collate.

    >>> class Squares(Dataset[int]):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index**2
    >>> Squares()[3]
    9
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> T_co: ...


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Arrays of equal length, element i of each being example i.

    Args:
        arrays: NumPy arrays (N, ...), any dtype; they are kept, not copied.
    Raises:
        DTypeError: something else than a NumPy array.
        ShapeError: no array, an array without axes, or different lengths.

    >>> images, labels = np.zeros((3, 1, 2, 2), np.float32), np.array([7, 8, 9])
    >>> dataset = TensorDataset(images, labels)
    >>> len(dataset), dataset[2][1].item()
    (3, 9)
    """

    def __init__(self, *arrays: npt.NDArray[Any]) -> None:
        for place, array in enumerate(arrays):
            if not isinstance(array, np.ndarray):
                raise DTypeError(
                    layout_message(
                        "TensorDataset",
                        f"argument {place} is not a NumPy array.",
                        expected=f"arrays in host memory, got {type(array).__module__}.{type(array).__name__}",
                        hint="convert with np.asarray, cupy.asnumpy or tensor.numpy().",
                    )
                )
        if not arrays or any(array.ndim == 0 for array in arrays) or len({len(a) for a in arrays}) > 1:
            raise ShapeError(
                layout_message(
                    "TensorDataset",
                    "the arrays do not have the same length.",
                    inputs=[describe(f"arrays[{i}]", "", a.shape, a.dtype, "cpu") for i, a in enumerate(arrays)],
                    expected="one or more arrays with equal first axes",
                )
            )
        self.tensors = arrays

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(array[index] for array in self.tensors)

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        """Return the batch of these examples: one gather per array."""
        return tuple(array[np.asarray(indices, np.int64)] for array in self.tensors)


class Subset(Dataset[Any]):
    """Chosen examples of another dataset, in the given order.

    Args:
        dataset: the whole.
        indices: places in it, 0 ... len(dataset) - 1.
    Raises:
        IndexError: an index is out of range.
        TypeError: the indices are not integers.

    >>> Subset(TensorDataset(np.array([10, 20, 30])), [2, 0])[0][0].item()
    30
    """

    def __init__(self, dataset: Dataset[Any], indices: Sequence[int] | npt.NDArray[np.int64]) -> None:
        places = np.asarray(indices)
        if places.ndim != 1 or (places.size and places.dtype.kind not in "iu"):
            raise TypeError(
                layout_message(
                    "Subset",
                    "the indices are not a list of integers.",
                    expected=f"one axis of integers, got {places.ndim} axes of {places.dtype}",
                    hint="turn a boolean mask into indices with np.flatnonzero(mask).",
                )
            )
        wrong = places[(places < 0) | (places >= len(dataset))]
        if wrong.size:
            raise IndexError(
                layout_message(
                    "Subset",
                    "an index is out of range.",
                    expected=f"0 to {len(dataset) - 1}, the places in the dataset, got {wrong[0]}",
                )
            )
        self.dataset = dataset
        self.indices = places.astype(np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Any:
        """Return many examples at once, by the dataset's own fast path if it has one."""
        places = self.indices[np.asarray(indices, np.int64)]
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(places)
        return [self.dataset[place] for place in places.tolist()]
