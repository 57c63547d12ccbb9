"""Make the MNIST subset that gpunet carries: the first K images of each class, in file order.

    python tools/make_mnist_subset.py FOLDER [TARGET]

FOLDER holds the four official files (*-ubyte or *-ubyte.gz); TARGET is gpunet/data/mnist_subset. The same input
gives the same bytes, as long as the installed liblzma is the same.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpunet.data.idx import read_idx, write_idx

TRAIN_PER_CLASS, TEST_PER_CLASS = 1200, 200
PACKAGE = Path(__file__).parents[1] / "gpunet" / "data" / "mnist_subset"

PROVENANCE = """\
Where these images come from
============================

A stratified subset of the MNIST database of handwritten digits.

Authors   Yann LeCun, Corinna Cortes, Christopher J.C. Burges
Origin    NIST Special Databases 3 and 1, published today as Special Database 19
Licence   Creative Commons Attribution-ShareAlike 3.0 (CC BY-SA 3.0), as stated for MNIST:
          https://creativecommons.org/licenses/by-sa/3.0/
          It holds for the files in this folder, not for the code of gpunet.
Changes   Only fewer images; every pixel and label is unchanged.
Rule      The first {train} images of each digit in the official training set and the first {test} in the official
          test set, all in their original order. Train images come from the training set only, test images from
          the test set only. Made by tools/make_mnist_subset.py.
Format    idx files, compressed by xz.

sha256 of the official files, decompressed
{sources}
sha256 of the idx files in this folder, decompressed
{results}"""


def first_of_each_class(labels: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the first `count` examples of each class, in file order."""
    places = [np.flatnonzero(labels == label)[:count] for label in range(10)]
    for label, found in enumerate(places):
        if len(found) < count:
            raise SystemExit(f"class {label} has only {len(found)} of the {count} images asked for")
    return np.sort(np.concatenate(places))


def sha256_of_idx(array: npt.NDArray[np.uint8]) -> str:
    """Digest the bytes of the array's idx file."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def make_subset(folder: Path, target: Path, train_per_class: int, test_per_class: int) -> None:
    """Write the four files of the subset and their PROVENANCE.txt."""
    sources, results = "", ""
    target.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train_per_class), ("t10k", test_per_class)):
        names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        images, labels = (read_official(folder, name) for name in names)
        chosen = first_of_each_class(labels, count)
        for name, whole in zip(names, (images, labels), strict=True):
            subset = whole[chosen]
            write_idx(target / f"{name}.xz", subset)
            sources += f"    {sha256_of_idx(whole)}  {name}\n"
            results += f"    {sha256_of_idx(subset)}  {name}\n"
    text = PROVENANCE.format(train=train_per_class, test=test_per_class, sources=sources, results=results)
    (target / "PROVENANCE.txt").write_text(text, encoding="utf-8")


def read_official(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read one official file, plain or .gz."""
    plain = folder / name
    return read_idx(plain if plain.exists() else folder / f"{name}.gz")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make the MNIST subset that gpunet carries.")
    parser.add_argument("folder", type=Path, help="holds the four official idx files")
    parser.add_argument("target", type=Path, nargs="?", default=PACKAGE)
    arguments = parser.parse_args()
    make_subset(arguments.folder, arguments.target, TRAIN_PER_CLASS, TEST_PER_CLASS)
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.target.iterdir())}
    for name, size in sizes.items():
        print(f"{size:>9}  {name}")
    print(f"{sum(sizes.values()):>9}  bytes in all")


if __name__ == "__main__":
    main()
