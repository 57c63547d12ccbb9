"""Checkpoints: nested Python values with arrays in them, as one safetensors file with a checksum.

The arrays become tensors named after their place ("optimizer/state/0/exp_avg"); everything else becomes JSON in
the header's metadata. Loading builds plain values only: no code is run, whatever the file says.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.errors import DTypeError, FormatError, layout_message
from gpunet.io.safetensors import load_file, save_file
from gpunet.ops import choices
from gpunet.tensor import Tensor

__all__ = ["load_checkpoint", "save_checkpoint"]

VERSION = 1
_VERSION_KEY, _TREE_KEY, _CHOICES_KEY = "gpunet.checkpoint", "gpunet.tree", "gpunet.choices"
# A JSON object in the tree always has exactly one of these keys; plain dicts are written as items.
_ARRAY, _ITEMS, _TUPLE = "array", "items", "tuple"


def save_checkpoint(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a nested value as one file, replacing an old file in one step.

    The file also tells by which tables of choices (gpunet/ops/choices.toml) this process chose kernels so far.

    Args:
        value: dicts (keys str or int), lists, tuples, str, int, float, bool, None, NumPy arrays and Tensors, nested:
            state dicts of modules and optimizers, for example. Tensors of any device are saved as arrays.
        path: the file.
    Raises:
        DTypeError: something else is in there; the message names its place.
        OSError: the file cannot be written; the message names it, and an old file is intact.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "last.safetensors"
    >>> from gpunet import nn, optim
    >>> model = nn.Linear(2, 1)
    >>> optimizer = optim.Adam(model.parameters())
    >>> save_checkpoint({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7}, path)
    >>> saved = load_checkpoint(path)
    >>> model.load_state_dict(saved["model"])
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    >>> optimizer.load_state_dict(saved["optimizer"])
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    tree = _pack(value, "", tensors, open_values=[])
    made_by = {_CHOICES_KEY: json.dumps(used)} if (used := choices.in_use()) else {}
    save_file(tensors, path, {_VERSION_KEY: str(VERSION), _TREE_KEY: json.dumps(tree), **made_by})


def load_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a nested value that `save_checkpoint` wrote; every byte is checked.

    It warns where a GPU's table of choices is another one now: a continued run may then differ in its last bits.

    Returns:
        The value, equal to the saved one, but with arrays for Tensors; arrays are C-contiguous, writable and in host
        memory.
    Raises:
        FormatError: the file is damaged, no checkpoint, or of a newer version of gpunet.
        OSError: the file does not exist or cannot be read.
    """
    tensors, metadata = load_file(path)
    version = metadata.get(_VERSION_KEY)
    if version != str(VERSION):
        raise _not_a_checkpoint(
            path,
            f"checkpoint version {VERSION}, got {version or 'a plain safetensors file'}",
            hint="read tensors with load_file, or a newer checkpoint with a newer gpunet.",
        )
    try:
        value = _unpack(json.loads(metadata[_TREE_KEY]), tensors)
        made_by = dict(json.loads(metadata.get(_CHOICES_KEY, "{}")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_a_checkpoint(path, f"a tree of values and arrays, got {error!r}") from error
    for gpu, digest in made_by.items():
        if digest != (now := choices.table(gpu).digest):
            warnings.warn(
                f"{os.fspath(path)} was made by another table of choices for {gpu} ({digest}, now {now}):"
                " a continued run may differ in its last bits",
                stacklevel=2,
            )
    return value


def _pack(value: Any, place: str, tensors: dict[str, npt.NDArray[Any]], open_values: list[int]) -> Any:
    """Turn a value into JSON and put its arrays aside."""
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = place or "value"
        # Different places can read alike: {"a/b": x, "a": {"b": y}}.
        while name in tensors or name == "__metadata__":
            name += "'"
        tensors[name] = value
        return {_ARRAY: name}
    if id(value) in open_values:
        raise _unsupported(place, "a container inside itself")
    inside = [*open_values, id(value)]

    def pack_all(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
        return [_pack(item, f"{place}/{key}" if place else str(key), tensors, inside) for key, item in pairs]

    if isinstance(value, Mapping):
        _check_keys(value, place)
        return {_ITEMS: list(zip(value, pack_all(value.items()), strict=True))}
    if type(value) is tuple:
        return {_TUPLE: pack_all(enumerate(value))}
    if type(value) is list:
        return pack_all(enumerate(value))
    raise _unsupported(place, f"{type(value).__module__}.{type(value).__name__}")


def _unpack(tree: Any, tensors: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Build the value that `_pack` took apart."""
    if isinstance(tree, list):
        return [_unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == _ARRAY:
        return tensors[content]
    if kind == _TUPLE:
        return tuple(_unpack(item, tensors) for item in content)
    if kind == _ITEMS:
        return {key: _unpack(item, tensors) for key, item in content}
    raise ValueError(f"unknown kind {kind!r}")


def _check_keys(value: Mapping[Any, Any], place: str) -> None:
    for key in value:
        if type(key) not in (str, int):
            raise _unsupported(place, f"the key {key!r}")


def _unsupported(place: str, found: str) -> DTypeError:
    return DTypeError(
        layout_message(
            "save_checkpoint",
            f"the value at {place or 'the top'!r} cannot be saved.",
            expected="dicts with str or int keys, lists, tuples, str, int, float, bool, None, NumPy arrays,"
            f" Tensors; got {found}",
            hint="turn NumPy scalars into numbers with .item(), CuPy arrays into NumPy arrays.",
        )
    )


def _not_a_checkpoint(path: str | os.PathLike[str], expected: str, hint: str = "") -> FormatError:
    problem = f"{os.fspath(path)} is not a checkpoint that this version can read."
    return FormatError(layout_message("load_checkpoint", problem, expected=expected, hint=hint))
