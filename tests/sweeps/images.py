"""Sweeps of images from a data set of bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from gpunet import ops
from gpunet.backend.dtypes import floats
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, shapes, size


@st.composite
def batches(draw: Draw) -> Case:
    """Draw images of any number of axes, and batches of some of them, or of none."""
    images = (draw(size(4)), draw(size(4)), *draw(size(3, 0).flatmap(lambda axes: shapes(axes, 9))))
    batch = draw(size(5, 0))
    numbers = {
        name: draw(st.sampled_from([value, [value + 0.1 * c for c in range(images[1])]]))
        for name, value in (("mean", 0.3), ("std", 0.2))
    }

    def pixels(rng: np.random.Generator) -> object:
        return rng.integers(0, 256, images).astype(np.uint8)

    def index(rng: np.random.Generator) -> object:
        return rng.integers(0, images[0], batch)

    attrs = {**numbers, "dtype": draw(st.sampled_from(floats()))}
    attrs["layout"] = draw(st.sampled_from([None, "contiguous", "channels_last"]))
    integers = {"images": pixels, "index": index}
    return Case(ops.normalize_images, {"images": images, "index": (batch,)}, {}, attrs=attrs, integers=integers)


SWEEPS = [Sweep(ops.normalize_images, batches())]
