"""Batches of images from a data set of bytes that lies on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.backend import CHANNELS_LAST, CONTIGUOUS, Array, Backend, Layout, layout_of, of
from gpunet.backend.dtypes import FLOAT_NAMES, accumulator, is_float
from gpunet.backend.kernel_backend import KernelBackend, blocks
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops.base import Op, Out

__all__ = ["normalize_images"]

MAX_CHANNELS = 64  # must equal MAX_CHANNELS of kernels/images.cu
_THREADS = 128

Numbers = float | Sequence[float]


class NormalizeImages(Op):
    """Batch of images from a data set of bytes, scaled to [0, 1] and normalised: what ToTensor and Normalize make.

        y[n, c] = (images[index[n], c] / 255 - mean[c]) / std[c]

    Every operation is rounded in float32 (float64 for float64), so all devices give the same bits, those of
    `gpunet.data.MNIST` for its mean and deviation. A data set that lies on the GPU once feeds training without copies.

    Args:
        images: (M, C, ...) uint8, M images; gray ones of shape (M, H, W) are images[:, None].
        index: (N,) int64, in [0, M): which images, in which order; they may repeat.
        mean, std: a number for each of the channels, or one for all.
        dtype: float16, bfloat16, float32 or float64.
        layout: "contiguous" or "channels_last", which convolution kernels read best; that of the images if None.

    Returns:
        (N, C, ...) in that dtype and layout.

    Raises:
        ShapeError: the images have no channel axis, or more than 64 channels; index has not one axis; mean or std has
            another length than there are channels.
        DTypeError: the images are not uint8, the index is not int64, or dtype is not floating-point.
        ValueError: a std is 0, or there is no such layout.
        IndexError: an index is out of range. On a GPU it is raised by the next read from the device, its image is
            zero, and optimizers leave the weights as they were.

    Memory: none besides the batch, where the images are contiguous or channels-last; else a copy of all of them.
    Source: torchvision.transforms.ToTensor and Normalize, which take one image on the host.

    Example:
        >>> gray = np.array([[[[0, 255]]], [[[255, 255]]]], np.uint8)
        >>> normalize_images(gray, np.array([1, 0]), mean=0.5, std=0.5)[:, 0, 0]
        array([[ 1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    name, inputs = "normalize_images", ("images", "index")
    axes = {"images": "MCHW", "index": "N"}

    def bind(
        self,
        images: Array,
        index: Array,
        mean: Numbers,
        std: Numbers,
        dtype: npt.DTypeLike = np.float32,
        layout: Layout | None = None,
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        numbers = {name: _numbers(name, value) for name, value in (("mean", mean), ("std", std))}
        return (images, index), {**numbers, "dtype": np.dtype(dtype), "layout": layout}

    def infer(
        self,
        images: Array,
        index: Array,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dtype: np.dtype[Any],
        layout: Layout | None,
    ) -> tuple[Out]:
        for name, array, wanted in (("images", images, np.uint8), ("index", index, np.int64)):
            if array.dtype != wanted:
                expected = f"{np.dtype(wanted)}, got {array.dtype}"
                raise self.error(
                    DTypeError, f"{name} has a wrong dtype.", expected=expected, images=images, index=index
                )
        if not is_float(dtype):
            raise self.error(DTypeError, "cannot convert to this dtype.", expected=f"{FLOAT_NAMES}, got {dtype}")
        if images.ndim < 2 or index.ndim != 1 or images.shape[1] > MAX_CHANNELS:
            expected = f"images (M, C, ...) with C <= {MAX_CHANNELS}, and index (N,)"
            hint = "images[:, None] adds a channel axis, images.transpose(0, 3, 1, 2) moves the last one to its place"
            problem = "the images or the index have a wrong shape."
            raise self.error(ShapeError, problem, expected=expected, hint=hint, images=images, index=index)
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) not in (1, images.shape[1]):
                expected = f"one number, or C = {images.shape[1]} of them, got {len(numbers)}"
                raise self.error(ShapeError, f"{name} does not match the channels.", expected=expected, images=images)
        if 0 in std:
            raise ValueError(f"{self.name}: std must not be 0, got {std}")
        if layout not in (None, CONTIGUOUS, CHANNELS_LAST):
            raise ValueError(f'{self.name}: layout must be "contiguous" or "channels_last", got {layout!r}')
        if not of(images).uses_kernels and index.size and not 0 <= index.min() <= index.max() < len(images):
            raise self.out_of_range(images, f", got {index.min()} to {index.max()}")
        return (Out((*index.shape, *images.shape[1:]), dtype, layout or layout_of(images) or CONTIGUOUS),)

    def out_of_range(self, images: Array, found: str = "") -> Any:
        """Return the error of an index outside [0, M)."""
        expected = f"0 <= index < M = {images.shape[0]}{found}"
        return self.error(IndexError, "an index is out of range.", expected=expected)

    def reference(self, be: Backend, y: Array, images: Array, index: Array, *, mean: Any, std: Any, **_: Any) -> None:
        kind = accumulator(y.dtype)
        column = (-1, *[1] * (images.ndim - 2))
        mean, std = (np.reshape(np.asarray(numbers, kind), column) for numbers in (mean, std))
        y[...] = (images[index].astype(kind) / kind.type(255) - mean) / std

    def cpu(self, be: Backend, y: Array, images: Array, index: Array, *, mean: Any, std: Any, **_: Any) -> None:
        channels = images.shape[1]
        pixels = np.arange(256, dtype=y.dtype) / y.dtype.type(255)
        for c, (middle, width) in enumerate(zip(*(_per_channel(n, channels) for n in (mean, std)), strict=True)):
            y[:, c] = ((pixels - y.dtype.type(middle)) / y.dtype.type(width))[images[index, c]]

    def cuda(self, be: KernelBackend, y: Array, images: Array, index: Array, *, mean: Any, std: Any, **_: Any) -> None:
        channels, size = images.shape[1], math.prod(images.shape[1:])
        layout = layout_of(images) or CONTIGUOUS
        y_layout = layout_of(y) or CONTIGUOUS
        padding = [0.0] * (MAX_CHANNELS - channels)
        numbers = {name: [*_per_channel(n, channels), *padding] for name, n in (("mean", mean), ("std", std))}
        last = {"last": int(layout == CHANNELS_LAST), "y_last": int(y_layout == CHANNELS_LAST)}
        shape = be.struct("images.cu", "Images", channels=channels, pixels=size // max(channels, 1), **last)
        read = be.dense(images, layout), be.dense(index, CONTIGUOUS)
        code = be.error_code(self.out_of_range(images))
        args = (y, *read, be.struct("images.cu", "Normal", **numbers), shape, len(images), be.error_word, code)
        grid = index.size, blocks(size, _THREADS * 16 // y.itemsize)
        be.launch("images.cu", "normalize_images", grid, _THREADS, args, REAL=y.dtype)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return one number, or one per channel, as a tuple."""
    try:
        return tuple(map(float, value)) if hasattr(value, "__len__") else (float(value),)
    except (TypeError, ValueError):
        raise TypeError(f"normalize_images: {name} must be a number or a sequence of numbers, got {value!r}") from None


def _per_channel(numbers: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return numbers * channels if len(numbers) == 1 else numbers


normalize_images = NormalizeImages()
