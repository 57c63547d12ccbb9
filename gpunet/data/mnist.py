"""MNIST, 28 x 28 grey handwritten digits: the official files, or the subset that gpunet carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.data.dataset import Dataset
from gpunet.data.idx import read_idx
from gpunet.errors import FormatError, layout_message

__all__ = ["MNIST"]

MEAN, STD = 0.1307, 0.3081

_EMBEDDED = Path(__file__).parent / "mnist_subset"
_SUBFOLDERS = (".", "raw", "MNIST/raw")
_SUFFIXES = ("", ".gz")


class MNIST(Dataset[tuple[Any, Any]]):
    """Handwritten digits, normalised as usual:

        x = (pixel / 255 - 0.1307) / 0.3081

    Example i is (image (1, 28, 28) float32, label int64); a slice gives (N, 1, 28, 28) and (N,), so that
    `x, y = MNIST()[:]` is the whole set.

    Args:
        root: a folder with the four official idx files, plain or .gz, directly or in MNIST/raw (where torchvision
            puts them). None takes the embedded subset: the first 1200 train and 200 test images of each digit.
        train: the training images, otherwise the test images.
    Attributes:
        images: (N, 28, 28) uint8, the pixels as they are in the file.
        targets: (N,) int64, 0 to 9.
        classes: names of the ten classes.
        black, white: the values x of the darkest and the brightest pixel.
    Raises:
        FileNotFoundError: a file is missing; the message names it and the folders where it was looked for.
        FormatError: a file is damaged, or is not MNIST.
    Memory: one byte per pixel; float32 only for the examples asked for.
    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; mnist_subset/PROVENANCE.txt.

    >>> test = MNIST(train=False)
    >>> image, label = test[0]
    >>> len(test), image.shape, int(label)
    (2000, (1, 28, 28), 7)
    """

    classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    black, white = (0 - MEAN) / STD, (1 - MEAN) / STD

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True) -> None:
        part = "train" if train else "t10k"
        images_path = _find(root, f"{part}-images-idx3-ubyte")
        labels_path = _find(root, f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(images_path), read_idx(labels_path)
        _check(images_path, images, labels_path, labels)
        self.train = train
        self.images: npt.NDArray[np.uint8] = images
        self.targets: npt.NDArray[np.int64] = labels.astype(np.int64)
        pixels = np.arange(256, dtype=np.float32) / np.float32(255)
        self._normalised = (pixels - np.float32(MEAN)) / np.float32(STD)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice) -> tuple[npt.NDArray[np.float32], Any]:
        return self._normalised[self.images[index]][..., None, :, :], self.targets[index]

    def __getitems__(self, indices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the batch of these examples: (N, 1, 28, 28) and (N,)."""
        places = np.asarray(indices, np.int64)
        return self._normalised[self.images[places]][:, None], self.targets[places]


def _find(root: str | os.PathLike[str] | None, name: str) -> Path:
    """Return the path of one of the four files."""
    if root is None:
        return _EMBEDDED / f"{name}.xz"
    folders = [Path(root) / subfolder for subfolder in _SUBFOLDERS]
    for folder in folders:
        for suffix in _SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    raise FileNotFoundError(
        layout_message(
            "MNIST",
            f"the file {name} is missing.",
            expected=f"{name} or {name}.gz in {', '.join(map(str, folders))}",
            hint="put the four official files there, or use MNIST() without root for the embedded subset.",
        )
    )


def _check(images_path: Path, images: npt.NDArray[Any], labels_path: Path, labels: npt.NDArray[Any]) -> None:
    """Refuse valid idx files that are not MNIST."""
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise _not_mnist(images_path, f"(N, 28, 28) uint8, got {images.shape} {images.dtype}")
    if labels.shape != images.shape[:1] or labels.dtype != np.uint8:
        raise _not_mnist(
            labels_path, f"({len(images)},) uint8 for the {len(images)} images, got {labels.shape} {labels.dtype}"
        )
    if labels.size and labels.max() > 9:
        raise _not_mnist(labels_path, f"labels 0 to 9, got {labels.max()}")


def _not_mnist(path: Path, expected: str) -> FormatError:
    return FormatError(layout_message("MNIST", f"{path} does not hold MNIST.", expected=expected))
