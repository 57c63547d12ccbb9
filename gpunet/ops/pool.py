"""What all pooling ops share: their arguments, their checks, and how their kernels are launched."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.backend.kernel_backend import blocks, power_of_two
from gpunet.errors import ShapeError
from gpunet.ops.base import Op
from gpunet.ops.geometry import Geometry, per_axis

__all__ = ["Pool", "grid_and_block"]

_THREADS = 256  # POOL_THREADS of kernels/pool.cuh
_LARGEST_PRODUCT = 2**32 - 1  # part_of in kernels/pool.cuh counts in 32 bits


class Pool(Op):
    """Base of pooling ops: one input x (N, C, *spatial), and each output made from a window of one channel."""

    stem: str
    gradients = ("x",)

    def __init__(self, spatial: int) -> None:
        self.spatial = spatial
        letters = "DHW"[3 - spatial :]
        images = ("N", "C", *letters)
        self.axes = {"x": images, "indices": images, "gy": ("N", "C", *(f"O{letter}" for letter in letters))}
        super().__init__(f"{self.stem}{spatial}d")

    def geometry(self, **attrs: Any) -> Geometry:
        """Return the sizes of a call from its attributes, those that do not matter left aside."""
        raise NotImplementedError

    # Attributes.

    def windows(self, **sizes: int | Sequence[int] | None) -> dict[str, tuple[int, ...]]:
        """Return one int per axis for each of kernel_size, stride, padding and dilation, as far as they are given."""
        given: dict[str, Any] = {
            **sizes,
            "stride": sizes["kernel_size"] if sizes["stride"] is None else sizes["stride"],
        }
        try:
            values = {name: per_axis(value, self.spatial) for name, value in given.items()}
        except (TypeError, ValueError):
            values = {}
        if not values or any(
            len(each) != self.spatial or min(each) < (0 if name == "padding" else 1) for name, each in values.items()
        ):
            raise self.error(
                ShapeError,
                "a window size is out of range.",
                expected=f"an int or {self.spatial} ints each, padding >= 0, the others >= 1; got "
                + ", ".join(f"{name}={value!r}" for name, value in sizes.items()),
            )
        return values

    def parts(self, output_size: Any, input_size: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many windows an adaptive pooling has on each axis; None stands for the input's size there."""
        given = (output_size,) * self.spatial if isinstance(output_size, int | np.integer | None) else output_size
        try:
            wanted = tuple(None if n is None else operator.index(n) for n in given)
        except TypeError:
            wanted = ()
        if len(wanted) != self.spatial or any(n is not None and n < 1 for n in wanted):
            raise self.error(
                ShapeError,
                "output_size is out of range.",
                expected=f"an int, None or {self.spatial} of them, each int >= 1; got {output_size!r}",
            )
        axes = list(zip(input_size[2:], wanted, strict=False))
        if any(out is not None and n % out and n * out + max(n, out) > _LARGEST_PRODUCT for n, out in axes):
            raise self.error(
                ShapeError,
                "an axis is too long for windows of different sizes.",
                expected=f"size * output_size < 2**32 where output_size does not divide the size; got {axes}",
            )
        return tuple(n if out is None else out for n, out in axes)

    # Checks.

    def check_input(self, x: Array) -> None:
        """Raise unless x is a batch of images of floats that have at least one pixel."""
        self.require_floats(x=x)
        self.check_images(x=x)

    def check_images(self, **array: Array) -> None:
        """Raise unless an array has a batch axis, channels, and at least one pixel."""
        ((name, images),) = array.items()
        if images.ndim != self.spatial + 2:
            raise self.error(
                ShapeError,
                f"{name} has the wrong number of axes.",
                expected=f"{self.spatial + 2} axes, got {images.ndim}",
                hint=f"a single image needs a batch axis: {name}[None]" if images.ndim == self.spatial + 1 else "",
                **array,
            )
        if 0 in images.shape[2:]:
            raise self.error(ShapeError, f"{name} has no pixels.", expected="spatial axes of size 1 and more", **array)

    def check_windows(
        self, x: Array, g: Geometry, *, padding: Sequence[int] = (), kernel_size: Sequence[int] = (), **_: Any
    ) -> None:
        """Raise unless the windows fit the padded input and are at most half padding."""
        if any(2 * p > k for p, k in zip(padding, kernel_size, strict=True)):
            raise self.error(
                ShapeError,
                "padding is larger than half of the window.",
                expected=f"2*padding <= kernel_size, got {padding} and {kernel_size}",
                x=x,
            )
        if min(g.out_size) < 1:
            raise self.error(
                ShapeError,
                "the window is larger than the padded input.",
                expected="dilation*(kernel_size - 1) + 1 <= size + 2*padding on each axis",
                hint="use a smaller kernel_size",
                x=x,
            )

    def out_shape(self, g: Geometry) -> tuple[int, ...]:
        """Return the shape of the output."""
        return (g.batch, g.channels, *g.out_size[3 - self.spatial :])


def grid_and_block(
    pixels: int, channels: int, itemsize: int, taps: int = 1
) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Return how kernels are launched, a thread making 16 bytes of channels; the larger windows, the more share one."""
    rows = 1 if taps < 32 else 8 if taps < 2048 else 32
    vectors = blocks(channels, 16 // itemsize)
    across = min(power_of_two(vectors), 32, _THREADS // rows)
    down = _THREADS // rows // across
    return (blocks(pixels, down), blocks(vectors, across)), (across, down, rows)
