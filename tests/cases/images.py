"""Cases of images from a data set of bytes."""

from __future__ import annotations

import numpy as np

from gpunet import data
from gpunet.backend.dtypes import floats
from gpunet.backend.layout import is_dense
from gpunet.ops import normalize_images
from tests.harness.case import Case, Special

LAYOUTS = "contiguous", "channels_last"


def images_case(images, batch, mean=0.5, std=0.25, dtype=np.float64, id=""):
    """Return the case of a data set of that shape and of a batch of so many images."""

    def same_in_torch(torch, images, index, mean, std, dtype):
        column = (-1, *[1] * (images.ndim - 2))
        mean, std = (torch.tensor(numbers, dtype=torch.float64).reshape(column) for numbers in (mean, std))
        return (images[index] / torch.tensor(255.0, dtype=torch.float64) - mean) / std

    return Case(
        normalize_images,
        {"images": None, "index": None},
        {"normalize_images": 1},
        attrs={"mean": mean, "std": std, "dtype": dtype},
        integers={
            "images": lambda rng: rng.integers(0, 256, images).astype(np.uint8),
            "index": lambda rng: rng.integers(0, images[0], batch),
        },
        torch=same_in_torch if dtype == np.float64 else None,
        id=id,
    )


COLOURS = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 2)}
CASES = [
    images_case((5, 3, 4, 6), 7, **COLOURS, dtype=np.float32, id="colours"),
    images_case((5, 3, 4, 6), 7, **COLOURS, id="colours-float64"),
    images_case((2, 1, 25, 25), 3, id="blocks"),
    images_case((3, 5), 2, id="rows"),
]


def all_bytes_give_the_bits_of_the_host(be):
    """Each byte in each channel, between all layouts, in all dtypes, in images of whole vectors and of ragged ones."""
    rng = np.random.default_rng(2)
    for channels, pixels in ((3, 256), (1, 259), (5, 261), (64, 8)):
        images = np.stack([[rng.permutation(pixels).astype(np.uint8) for _ in range(channels)] for _ in range(3)])
        mean, std = rng.random(channels).tolist(), (0.1 + rng.random(channels)).tolist()
        index = np.array([2, 0, 2])
        for from_layout in LAYOUTS:
            on_device = be.empty(images.shape, np.uint8, from_layout)
            be.copy(on_device, be.from_numpy(images))
            for to_layout in LAYOUTS:
                for dtype in floats():
                    expected = normalize_images(images, index, mean, std, dtype, to_layout)
                    batch = normalize_images(on_device, be.from_numpy(index), mean, std, dtype, to_layout)
                    assert is_dense(batch, to_layout) and batch.dtype == dtype
                    assert be.to_numpy(batch).tobytes() == expected.tobytes(), (channels, from_layout, to_layout, dtype)


def batches_are_those_of_mnist(be):
    digits, index = data.MNIST(train=False), np.array([3, 1, 4, 1])
    images, index_there = be.from_numpy(digits.images[:5]), be.from_numpy(index)
    batch = normalize_images(images[:, None], index_there, data.mnist.MEAN, data.mnist.STD)
    assert be.to_numpy(batch).tobytes() == digits.__getitems__(index)[0].tobytes()


def an_index_that_does_not_exist_gives_zeros_and_sets_the_error_word(be):
    images = be.from_numpy(np.full((3, 2, 500), 255, np.uint8))
    for wrong in (-1, 3):
        batch = normalize_images(images, be.from_numpy(np.array([2, wrong, 0])), 0, 1)
        try:
            be.to_numpy(be.error_word)
        except IndexError as error:
            assert "normalize_images: an index is out of range" in str(error)
        else:
            raise AssertionError("no error")
        assert [set(image.ravel().tolist()) for image in be.to_numpy(batch)] == [{1}, {0}, {1}]


KERNELS = ("normalize_images",)
SPECIALS = [
    Special(KERNELS, all_bytes_give_the_bits_of_the_host),
    Special(KERNELS, batches_are_those_of_mnist),
    Special(KERNELS, an_index_that_does_not_exist_gives_zeros_and_sets_the_error_word),
]
