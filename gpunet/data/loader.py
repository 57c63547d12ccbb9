"""DataLoader: batches of a dataset, in order or shuffled, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gpunet.backend.random import Generator, default_generator
from gpunet.errors import DTypeError, ShapeError, layout_message
from gpunet.tensor import from_numpy

__all__ = ["DataLoader", "default_collate"]


class _Indexable(Protocol):
    """What the loader needs: a Dataset, or any sequence."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class DataLoader:
    """Iterates over a dataset in batches of Tensors; each `iter` is one epoch.

    Shuffling takes one permutation per epoch from the generator's stream SHUFFLE, at the moment of `iter`: the
    order depends only on the seed and the number of epochs shuffled before.

    Args:
        dataset: a Dataset or a sequence; `__getitems__(indices)` is used where it exists (see `Dataset`).
        batch_size: examples per batch, >= 1.
        shuffle: a new order each epoch.
        num_workers: 0; batches are made in this process.
        collate_fn: turns a list of examples into a batch of arrays; `default_collate` if None.
        drop_last: leave out the last batch if it is smaller than the others.
        generator: source of the order, the default generator if None.
        device: where the batches go, such as "cuda"; None leaves them on the CPU.
    Yields:
        What the dataset's examples are, a tuple, dict or single value, with an axis N in front.
    Raises:
        ValueError: batch_size < 1, or num_workers other than 0.
        TypeError: shuffle or drop_last is not a bool, batch_size not an integer, the dataset has no length.
        ShapeError: the examples of one batch have different shapes.

    >>> loader = DataLoader([0, 1, 2, 3, 4], batch_size=2)
    >>> len(loader), len(DataLoader([0, 1, 2, 3, 4], batch_size=2, drop_last=True))
    (3, 2)
    """

    def __init__(
        self,
        dataset: _Indexable,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: Generator | None = None,
        device: Any = None,
    ) -> None:
        _check_arguments(dataset, batch_size, shuffle, drop_last, num_workers)
        self.dataset = dataset
        self.batch_size = int(batch_size)
        self.shuffle = shuffle
        self.num_workers = 0
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.generator = default_generator if generator is None else generator
        self.device = device

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def __iter__(self) -> Iterator[Any]:
        batches = self._batches()
        return (_map_arrays(batch, lambda array: _to_tensor(array, self.device)) for batch in batches)

    def _batches(self) -> Iterator[Any]:
        """Iterate over one epoch as NumPy batches; the order is drawn at once."""
        size = len(self.dataset)
        order = self.generator.permutation(size) if self.shuffle else np.arange(size)
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        return (self._batch(order[start : start + self.batch_size]) for start in starts)

    def _batch(self, indices: Any) -> Any:
        """Gather one batch; a list from `__getitems__` holds examples, everything else is a batch already.

        A `collate_fn` gets examples in any case.
        """
        gathered = self.dataset.__getitems__(indices) if hasattr(self.dataset, "__getitems__") else None
        if isinstance(gathered, list):
            examples = gathered
        elif gathered is not None and self.collate_fn is None:
            return gathered
        else:
            examples = [self.dataset[index] for index in indices.tolist()]
        return (self.collate_fn or default_collate)(examples)


def default_collate(examples: Sequence[Any]) -> Any:
    """Stack examples along a new first axis, inside tuples, lists and dicts too.

    Python integers become int64, floats float64 and booleans bool, as in PyTorch.

    Raises:
        ShapeError: the examples differ in shape or structure.
        DTypeError: an example is neither an array, a number, nor a tuple, list or dict of these.

    >>> default_collate([(1, np.zeros(2)), (5, np.ones(2))])[0].tolist()
    [1, 5]
    """
    first = examples[0]
    if isinstance(first, Mapping):
        _check_structure(examples, lambda example: isinstance(example, Mapping) and set(example) == set(first))
        return {key: default_collate([example[key] for example in examples]) for key in first}
    if isinstance(first, (tuple, list)):
        _check_structure(examples, lambda example: isinstance(example, (tuple, list)) and len(example) == len(first))
        return tuple(default_collate(column) for column in zip(*examples, strict=True))
    arrays = [_as_array(example) for example in examples]
    _check_structure(arrays, lambda array: array.shape == arrays[0].shape)
    return np.stack(arrays)


def _as_array(example: Any) -> np.ndarray[Any, Any]:
    if isinstance(example, (np.ndarray, np.generic, bool, int, float)):
        return np.asarray(example)
    raise DTypeError(
        layout_message(
            "DataLoader",
            "the examples cannot be stacked into an array.",
            expected=f"NumPy arrays, numbers, or tuples and dicts of these, got {type(example).__name__}",
            hint="convert in __getitem__, or pass collate_fn=.",
        )
    )


def _check_structure(examples: Sequence[Any], fits: Callable[[Any], bool]) -> None:
    """Compare each example with the first one of the batch."""
    for place, example in enumerate(examples):
        if not fits(example):
            raise ShapeError(
                layout_message(
                    "DataLoader",
                    f"examples 0 and {place} of a batch do not fit together.",
                    inputs=[f"[0]  {_outline(examples[0])}", f"[{place}]  {_outline(example)}"],
                    expected="the same shapes, lengths and keys in all examples",
                    hint="pad or crop in __getitem__, or pass collate_fn=.",
                )
            )


def _outline(example: Any) -> str:
    """Describe an example in a few words: shape, length or keys."""
    if isinstance(example, np.ndarray):
        return f"({', '.join(map(str, example.shape))}) {example.dtype}"
    if isinstance(example, Mapping):
        return f"dict with keys {', '.join(map(str, example))}"
    if isinstance(example, (tuple, list)):
        return f"{type(example).__name__} of {len(example)}"
    return type(example).__name__


def _map_arrays(batch: Any, convert: Callable[[Any], Any]) -> Any:
    """Apply a function to every array of a batch, whatever holds it."""
    if isinstance(batch, Mapping):
        return {key: _map_arrays(value, convert) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(_map_arrays(value, convert) for value in batch)
    return convert(batch) if isinstance(batch, np.ndarray) else batch


def _to_tensor(array: Any, device: Any) -> Any:
    """Wrap a NumPy array as a Tensor on a device."""
    tensor = from_numpy(array)
    return tensor if device is None else tensor.to(device)


def _check_arguments(dataset: Any, batch_size: Any, shuffle: Any, drop_last: Any, num_workers: Any) -> None:
    """Refuse what the loader cannot do, before the first batch."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            layout_message(
                "DataLoader",
                "the dataset cannot be indexed.",
                expected=f"__len__ and __getitem__, got {type(dataset).__name__}",
                hint="derive from gpunet.data.Dataset, or pass list(dataset).",
            )
        )
    for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
        if not isinstance(value, bool):
            raise TypeError(
                layout_message("DataLoader", f"{name} is not a bool.", expected=f"True or False, got {value!r}")
            )
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(
            layout_message(
                "DataLoader", "batch_size is not an integer.", expected=f"an integer >= 1, got {batch_size!r}"
            )
        )
    if batch_size < 1:
        raise ValueError(
            layout_message("DataLoader", "batch_size is too small.", expected=f"an integer >= 1, got {batch_size}")
        )
    if num_workers != 0:
        raise ValueError(
            layout_message(
                "DataLoader",
                "batches are made in process only.",
                expected=f"num_workers=0, got {num_workers!r}",
                hint="leave num_workers out; give the dataset __getitems__ to gather a batch in one call.",
            )
        )
