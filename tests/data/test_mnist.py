from __future__ import annotations

import gzip
import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from gpunet.data import MNIST, DataLoader, read_idx, write_idx
from gpunet.data import mnist as mnist_module
from gpunet.errors import FormatError

SUBSET = Path(mnist_module.__file__).parent / "mnist_subset"
TOOL = Path(__file__).parents[2] / "tools" / "make_mnist_subset.py"


def write_official(folder, rng, *, suffix="", per_class=4):
    """Write four small files that look like MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        labels = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), per_class))
        images = rng.integers(0, 256, (len(labels), 28, 28)).astype(np.uint8)
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)


@pytest.fixture(scope="module")
def tool():
    specification = importlib.util.spec_from_file_location("make_mnist_subset", TOOL)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("train", "per_class"), [(True, 1200), (False, 200)])
def test_embedded_subset_is_stratified(train, per_class):
    dataset = MNIST(train=train)
    assert np.bincount(dataset.targets).tolist() == [per_class] * 10
    assert dataset.images.shape == (10 * per_class, 28, 28)
    assert (dataset.images.dtype, dataset.targets.dtype) == (np.uint8, np.int64)


def test_embedded_subset_is_mnist():
    train, test = MNIST(), MNIST(train=False)
    assert train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.targets[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # Near the whole set's 0.1307 and 0.3081; equal classes hold fewer of the thin ones.
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=0.003)
    assert train.images.std() / 255 == pytest.approx(0.3081, abs=0.003)
    assert len(np.unique(np.concatenate([train.images, test.images]), axis=0)) == 14_000


def test_embedded_subset_is_small_and_quick():
    assert sum(path.stat().st_size for path in SUBSET.iterdir()) <= 2_000_000
    start = time.process_time()
    MNIST()
    assert time.process_time() - start < 0.5


def test_embedded_subset_has_the_digests_of_its_provenance(tool):
    text = (SUBSET / "PROVENANCE.txt").read_text(encoding="utf-8")
    assert "CC BY-SA 3.0" in text
    for path in SUBSET.glob("*.xz"):
        assert (
            f"{tool.sha256_of_idx(read_idx(path))}  {path.stem}"
            in text.split("sha256 of the idx files in this folder")[1]
        )


def test_tool_takes_the_first_of_each_class(tool, tmp_path, rng):
    write_official(tmp_path / "raw", rng, suffix=".gz")
    tool.make_subset(tmp_path / "raw", tmp_path / "out", 3, 1)
    whole, subset = MNIST(tmp_path), read_idx(tmp_path / "out" / "train-labels-idx1-ubyte.xz")
    chosen, seen = [], [0] * 10
    for place, label in enumerate(whole.targets):
        seen[label] += 1
        if seen[label] <= 3:
            chosen.append(place)
    assert subset.tolist() == whole.targets[chosen].tolist()
    images = read_idx(tmp_path / "out" / "train-images-idx3-ubyte.xz")
    assert (images == whole.images[chosen]).all()
    assert np.bincount(read_idx(tmp_path / "out" / "t10k-labels-idx1-ubyte.xz")).tolist() == [1] * 10


def test_tool_writes_the_same_bytes_twice(tool, tmp_path, rng):
    write_official(tmp_path / "raw", rng)
    for target in ("a", "b"):
        tool.make_subset(tmp_path / "raw", tmp_path / target, 2, 2)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 5
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_tool_refuses_a_class_that_is_too_small(tool, tmp_path, rng):
    write_official(tmp_path, rng, per_class=2)
    with pytest.raises(SystemExit, match="class 0 has only 2 of the 3 images"):
        tool.make_subset(tmp_path, tmp_path / "out", 3, 1)


def test_mnist_example_is_normalised():
    dataset = MNIST(train=False)
    image, label = dataset[3]
    assert (image.shape, image.dtype, label.dtype) == ((1, 28, 28), np.float32, np.int64)
    pixels = dataset.images[3].astype(np.float32)
    np.testing.assert_allclose(image[0], (pixels / 255 - 0.1307) / 0.3081, rtol=1e-6)


@pytest.mark.torch
def test_mnist_pixels_have_the_bits_of_torchvision(torch):
    pixels = torch.arange(256, dtype=torch.uint8).to(torch.float32).div(255)
    expected = pixels.sub_(torch.tensor(0.1307)).div_(torch.tensor(0.3081))
    dataset = MNIST(train=False)
    assert (dataset[:][0].ravel() == expected.numpy()[dataset.images.ravel()]).all()


def test_mnist_slice_and_batch_have_an_axis_in_front():
    dataset = MNIST(train=False)
    images, labels = dataset[2:7]
    assert (images.shape, labels.shape) == ((5, 1, 28, 28), (5,))
    batch, targets = dataset.__getitems__(np.array([6, 2]))
    assert (batch == images[[4, 0]]).all()
    assert (targets == labels[[4, 0]]).all()
    assert batch.flags.c_contiguous


def test_mnist_feeds_the_loader():
    images, labels = next(DataLoader(MNIST(train=False), 64, shuffle=True)._batches())
    assert (images.shape, images.dtype, labels.shape) == ((64, 1, 28, 28), np.float32, (64,))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "raw", "MNIST/raw"])
def test_mnist_reads_a_folder(tmp_path, rng, folder, suffix):
    write_official(tmp_path / folder, rng, suffix=suffix)
    assert len(MNIST(tmp_path)) == len(MNIST(str(tmp_path), train=False)) == 40
    assert (MNIST(tmp_path).targets != MNIST(tmp_path, train=False).targets).any()


def test_mnist_missing_file_names_file_and_folders(tmp_path, rng):
    write_official(tmp_path, rng)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(MNIST(tmp_path)) == 40
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(tmp_path, train=False)
    text = str(caught.value)
    assert "the file t10k-labels-idx1-ubyte is missing" in text
    assert all(str(tmp_path / folder) in text for folder in (".", "raw", "MNIST/raw"))


@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        ("train-images-idx3-ubyte", np.zeros((40, 28), np.uint8), r"expected \(N, 28, 28\) uint8, got \(40, 28\)"),
        ("train-images-idx3-ubyte", np.zeros((40, 28, 28), np.float32), "float32"),
        ("train-labels-idx1-ubyte", np.zeros(39, np.uint8), r"expected \(40,\) uint8 for the 40 images, got \(39,\)"),
        ("train-labels-idx1-ubyte", np.full(40, 10, np.uint8), "expected labels 0 to 9, got 10"),
    ],
)
def test_mnist_refuses_files_that_are_not_mnist(tmp_path, rng, name, array, text):
    write_official(tmp_path, rng)
    write_idx(tmp_path / name, array)
    with pytest.raises(FormatError, match=text) as caught:
        MNIST(tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_mnist_refuses_a_truncated_file(tmp_path, rng):
    write_official(tmp_path, rng, suffix=".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="damaged compression"):
        MNIST(tmp_path)
    path.write_bytes(gzip.compress(b"<html>not found</html>"))
    with pytest.raises(FormatError, match="the magic number is 3c 68 74 6d"):
        MNIST(tmp_path)
