"""Sizes of windows: what is too large for kernels."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import ops
from gpunet.errors import KernelError


def images(be, *shape):
    """Return images of one number, which need no memory."""
    return be.xp.broadcast_to(be.from_numpy(np.ones((1,) * len(shape), np.float32)), shape)


@pytest.mark.only_backends("emulated", "cupy")
def test_more_pixels_than_an_int_can_count_are_refused(be, monkeypatch):
    """They would come back as they were allocated: kernels see a negative number of pixels, and do nothing."""
    monkeypatch.setattr(type(be), "empty", lambda self, shape, dtype, layout="contiguous": images(be, *shape))
    monkeypatch.setattr(type(be), "dense", lambda self, array, layout, alignment=1: array)
    large, weight = images(be, 2, 1, 2**15, 2**15), images(be, 1, 1, 1, 1)
    for call in (
        lambda: ops.conv2d(large, weight),
        lambda: ops.conv_transpose2d(images(be, 2, 1, 2, 2), weight, stride=2**15),
        lambda: ops.conv2d(images(be, 1, 1, 1, 1), weight, padding=2**30, stride=2**31 - 1),
        lambda: ops.max_pool2d(large, 2),
        lambda: ops.avg_pool2d.grad(images(be, 2, 1, 2**14, 2**14), kernel_size=2, input_size=large.shape),
    ):
        with pytest.raises(KernelError, match=r"more pixels than kernels can count\.(.|\n)*split the batch"):
            call()


@pytest.mark.only_backends("emulated", "cupy")
def test_a_stride_that_is_no_int_of_kernels_is_refused_by_name(be):
    x = be.from_numpy(np.ones((1, 1, 4, 4), np.float32))
    with pytest.raises(KernelError, match=r"struct Window: stride is int32, which cannot hold \(1, 1099511627776"):
        ops.max_pool2d(x, 2, stride=2**40)
