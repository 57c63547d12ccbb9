"""Augmentation: random changes of a batch of images, on the device where it lives."""

from __future__ import annotations

import numpy as np

from gpunet import backend
from gpunet.backend import CONTIGUOUS, layout_of
from gpunet.backend.random import AUGMENT, Generator, default_generator
from gpunet.errors import DTypeError, describe, layout_message
from gpunet.tensor import Tensor

__all__ = ["RandomInvert"]


class RandomInvert:
    """Inverts the colours of each image of a batch with probability p.

        y[n] = black + white - x[n]   with probability p, else x[n]

    Applied in a training loop, `x = invert(x)`, or by `train.fit(..., augment=invert)`. One random word per image, of
    stream AUGMENT and made on the host: the same seed inverts the same images on every device.

    Args:
        p: probability in [0, 1].
        black, white: the values of black and of white; 0 and 1 unless the images are normalised, such as MNIST's,
            which go from `MNIST.black` to `MNIST.white`.
        generator: source of the random words, the default generator if None.
    Call:
        x: (N, ...) float32 or float64, N images on any device; it stays as it is.
    Returns:
        A tensor of the same shape, dtype, device and memory layout, without a history.
    Raises:
        ValueError: p is not in [0, 1].
        DTypeError: the images are neither float32 nor float64.
        RuntimeError: a gradient is asked for: there is none.
    Memory: two more batches for a moment, one of which is the result.
    Source: torchvision.transforms.RandomInvert, which takes one image, from 0 to 1.

    >>> import gpunet
    >>> RandomInvert(p=1.0)(gpunet.tensor([[0.0, 0.25], [1.0, 1.0]]))
    tensor([[1.  , 0.75],
            [0.  , 0.  ]])
    """

    def __init__(
        self, p: float = 0.5, *, black: float = 0.0, white: float = 1.0, generator: Generator | None = None
    ) -> None:
        if not 0 <= p <= 1:
            raise ValueError(
                layout_message("RandomInvert", "p is not a probability.", expected=f"a number from 0 to 1, got {p}")
            )
        self.p, self.black, self.white = float(p), float(black), float(white)
        self.generator = default_generator if generator is None else generator

    def __repr__(self) -> str:
        return f"RandomInvert(p={self.p}, black={self.black}, white={self.white})"

    def __call__(self, x: Tensor) -> Tensor:
        """Return the batch with some images inverted."""
        if x.dtype not in (np.float32, np.float64):
            raise DTypeError(
                layout_message(
                    "RandomInvert",
                    "the images have a dtype without an implementation.",
                    inputs=[describe("x", "", x.shape, x.dtype, x.device)],
                    expected=f"float32 or float64, got {x.dtype}",
                    hint="scale the pixels to floats first, such as pixels / np.float32(255)",
                )
            )
        if x.requires_grad:
            raise RuntimeError(
                "RandomInvert: augmentation has no gradient, but the images ask for one.\n  hint: x.detach()"
            )
        be = backend.of(x.array)
        chosen = self.generator.uniform(len(x), stream=AUGMENT) < self.p
        mask = be.from_numpy(chosen.reshape(len(x), *[1] * (x.ndim - 1)))
        with be.current():
            inverted = be.xp.where(mask, (self.black + self.white) - x.array, x.array)
        return Tensor(be.dense(inverted, layout_of(x.array) or CONTIGUOUS))
