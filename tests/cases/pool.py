"""Cases of pooling."""

from __future__ import annotations

import functools
import math

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


def _pool(op, torch, x, **attrs):
    if op is ops.avg_pool1d:
        attrs.pop("divisor_override", None)
    return getattr(torch.nn.functional, op.__name__)(x, **attrs)


def pool_case(op, x, id="", copies=2, sums=0, **attrs):
    """Return a case of any pooling. A global one makes fewer `copies`, or takes so many passes of `sums` and none."""
    kernel = "max_pool" if "max_pool" in op.__name__ else "average_pool"
    launches = {"sum_axes": sums} if sums else {f"{kernel}_forward": 1, "copy_strided": copies}
    gradients = {"x": {f"{kernel}_backward": 1, "copy_strided": copies}}
    return Case(op, {"x": x}, launches, gradients, attrs, torch=functools.partial(_pool, op), id=id)


def distinct_indices(shape, pixels):
    """Return indices of which none repeats within a channel: only so is the gradient a derivative."""
    count = math.prod(shape[2:])
    return lambda rng: np.stack(
        [rng.permutation(pixels)[:count] for _ in range(shape[0] * shape[1])], dtype=np.int64
    ).reshape(shape)


def unpool_case(op, x, pixels, id="", indices=None, **attrs):
    """Return a case of unpooling to so many pixels, without a gradient where indices repeat."""
    gradients = {} if indices else {"x": {"max_unpool_backward": 1, "copy_strided": 3}}
    return Case(
        op,
        {"x": x},
        {"max_unpool_forward": 1, "copy_strided": 3},
        gradients,
        attrs,
        {"indices": indices or distinct_indices(x, pixels)},
        torch=lambda torch, x, indices, **attrs: getattr(torch.nn.functional, op.__name__)(x, indices, **attrs),
        id=id,
    )


# Windows of up to 31 elements are one thread's, of up to 2047 are shared by 8, larger ones by 32.
CASES = [
    pool_case(ops.max_pool2d, (2, 3, 6, 7), kernel_size=2),
    pool_case(ops.max_pool2d, (2, 8, 6, 7), id="vectors", kernel_size=2),
    pool_case(ops.max_pool2d, (1, 140, 2, 5), id="two-blocks-of-channels", kernel_size=2),
    pool_case(ops.max_pool2d, (2, 3, 7, 8), id="overlapping", kernel_size=3, stride=(2, 1), padding=1),
    pool_case(ops.max_pool2d, (1, 2, 8, 9), id="dilated", kernel_size=(2, 3), stride=2, dilation=(2, 1)),
    pool_case(ops.max_pool2d, (1, 2, 9, 11), id="dilated-overlapping", kernel_size=3, padding=1, stride=1, dilation=2),
    pool_case(ops.max_pool2d, (1, 2, 7, 5), id="ceil", kernel_size=2, ceil_mode=True),
    pool_case(ops.max_pool2d, (1, 3, 10, 11), id="shared", kernel_size=(8, 9), stride=1, padding=(3, 4)),
    pool_case(ops.max_pool2d, (1, 2, 20, 18), id="wide", kernel_size=17, stride=1),
    pool_case(ops.max_pool1d, (2, 3, 9), kernel_size=3, stride=2, padding=1),
    pool_case(ops.max_pool3d, (2, 2, 4, 5, 6), kernel_size=(2, 2, 3)),
    pool_case(ops.max_pool3d, (1, 2, 6, 7, 6), id="dilated", kernel_size=2, stride=1, dilation=2),
    pool_case(ops.adaptive_max_pool1d, (2, 3, 11), output_size=4),
    pool_case(ops.adaptive_max_pool1d, (1, 2, 2103), id="shared-by-32", copies=1, output_size=1),
    pool_case(ops.adaptive_max_pool2d, (2, 3, 7, 5), output_size=(3, None)),
    pool_case(ops.adaptive_max_pool2d, (1, 3, 3, 6), id="larger", output_size=(5, 4)),
    pool_case(ops.adaptive_max_pool2d, (2, 3, 9, 8), id="global", copies=1, output_size=1),
    pool_case(ops.adaptive_max_pool3d, (1, 2, 5, 4, 6), output_size=(2, 3, 4)),
    pool_case(ops.avg_pool2d, (2, 3, 6, 7), kernel_size=2),
    pool_case(ops.avg_pool2d, (2, 3, 7, 8), id="overlapping", kernel_size=3, stride=(2, 1), padding=1),
    pool_case(ops.avg_pool2d, (2, 8, 6, 7), id="vectors", kernel_size=2),
    pool_case(ops.avg_pool2d, (1, 140, 2, 5), id="two-blocks-of-channels", kernel_size=2),
    pool_case(
        ops.avg_pool2d, (2, 3, 7, 8), id="inside", kernel_size=(3, 4), stride=2, padding=(1, 2), count_include_pad=False
    ),
    pool_case(ops.avg_pool2d, (1, 2, 8, 9), id="ceil", kernel_size=(3, 4), stride=3, padding=(1, 2), ceil_mode=True),
    pool_case(ops.avg_pool2d, (1, 2, 7, 5), id="divisor", kernel_size=2, padding=1, divisor_override=-3),
    pool_case(ops.avg_pool2d, (1, 3, 10, 11), id="shared", kernel_size=(8, 9), stride=1, padding=(3, 4)),
    pool_case(ops.avg_pool1d, (2, 3, 9), kernel_size=3, stride=2, padding=1),
    pool_case(ops.avg_pool3d, (2, 2, 4, 5, 6), kernel_size=(2, 2, 3), stride=(2, 1, 3), padding=(0, 1, 1)),
    pool_case(ops.adaptive_avg_pool1d, (2, 3, 11), output_size=4),
    pool_case(ops.adaptive_avg_pool2d, (2, 3, 7, 5), output_size=(3, None)),
    pool_case(ops.adaptive_avg_pool2d, (1, 3, 3, 6), id="larger", output_size=(5, 4)),
    pool_case(ops.adaptive_avg_pool2d, (2, 3, 9, 8), id="global", copies=1, output_size=1),
    pool_case(ops.adaptive_avg_pool2d, (2, 3, 33, 35), id="global-large", copies=1, sums=1, output_size=1),
    pool_case(ops.adaptive_avg_pool3d, (1, 2, 5, 4, 6), output_size=(2, 3, 4)),
    unpool_case(ops.max_unpool2d, (2, 3, 3, 4), 48, kernel_size=2),
    unpool_case(ops.max_unpool2d, (1, 140, 1, 2), 8, id="two-blocks-of-channels", kernel_size=2),
    unpool_case(
        ops.max_unpool2d, (2, 9, 6, 7), 72, id="steps", kernel_size=3, stride=(1, 2), padding=1, output_size=(6, 12)
    ),
    unpool_case(
        ops.max_unpool2d,
        (2, 8, 6, 7),
        0,
        id="repeated",
        indices=lambda rng: rng.integers(0, 30, (2, 8, 6, 7)),
        kernel_size=2,
        stride=1,
    ),
    unpool_case(ops.max_unpool1d, (2, 3, 4), 8, kernel_size=3, stride=2, padding=1, output_size=(2, 3, 8)),
    unpool_case(ops.max_unpool3d, (2, 2, 2, 3, 2), 48, kernel_size=(2, 2, 1), stride=(2, 1, 2)),
]


def indices_are_positions_in_the_input(be):
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
    for pool, attrs in (
        (ops.max_pool2d, {"kernel_size": 2, "padding": 1}),
        (ops.adaptive_max_pool2d, {"output_size": 4}),
    ):
        y, indices = pool(be.from_numpy(x), **attrs, return_indices=True)
        values = np.take_along_axis(x.reshape(2, 3, 30), be.to_numpy(indices).reshape(2, 3, -1), axis=2)
        assert np.array_equal(values.reshape(y.shape), be.to_numpy(y)), pool


def nan_wins_and_the_first_of_equal_maxima(be):
    """As on the CPU, which tests/ops/test_pool.py compares with PyTorch: windows of one thread, of 8 and of 32."""
    choices = np.array([-np.inf, -1, 0, 0, 2, np.nan, np.inf], np.float32)
    x = np.random.default_rng(1).choice(choices, (1, 3, 47, 46), p=[0.3, 0.15, 0.15, 0.15, 0.15, 0.05, 0.05])
    x[:, 2, np.isnan(x[0, 2])] = 0
    x[:, 0, 1:3, 1:3] = [[np.nan, 0], [0, 0]]  # one window, whose only NaN stands first
    for part, pool, attrs in (
        (x[..., :7, :6], ops.max_pool2d, {"kernel_size": 2, "padding": 1}),
        (x[..., :7, :7], ops.max_pool2d, {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 8}),
        (x[..., :9, :10], ops.adaptive_max_pool2d, {"output_size": 1}),
        (x, ops.adaptive_max_pool2d, {"output_size": 1}),
    ):
        for ours, expected in zip(pool.forward(be.from_numpy(part), **attrs), pool.forward(part, **attrs), strict=True):
            assert np.array_equal(be.to_numpy(ours), expected, equal_nan=True), (pool, attrs)


def an_index_out_of_range_sets_the_error_word(be):
    for wrong in (-1, 6):
        indices = be.from_numpy(np.array([[[0, wrong, 5]]]))
        y = ops.max_unpool1d(be.from_numpy(np.ones((1, 1, 3), np.float32)), indices, 2)
        assert _taken_error(be) and be.to_numpy(y).tolist() == [[[1, 0, 0, 0, 0, 1]]]
        gx = ops.max_unpool1d.grad(be.from_numpy(np.ones((1, 1, 6), np.float32)), indices, kernel_size=2)
        assert _taken_error(be) and be.to_numpy(gx).tolist() == [[[1, 0, 1]]]


def _taken_error(be):
    """Say whether the error word names an index out of range, and clear it."""
    try:
        be.to_numpy(be.error_word)
    except IndexError as error:
        return "max_unpool1d: an index is out of range" in str(error)
    return False


SPECIALS = [
    Special(("max_pool_indices",), indices_are_positions_in_the_input),
    Special(("max_pool_forward",), nan_wins_and_the_first_of_equal_maxima),
    Special(("max_unpool_forward", "max_unpool_backward"), an_index_out_of_range_sets_the_error_word),
]
