"""Sweeps of pooling."""

from __future__ import annotations

import math

from hypothesis import assume
from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops.base import Op
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size
from tests.sweeps.conv import windows


@st.composite
def max_pools(draw: Draw, op: Op, axes: int) -> Case:
    """Draw a max pooling; the batch may be empty."""
    window = draw(windows(axes, half_padding=True))
    x = (draw(size(2, 0)), draw(size(3)), *window["size"])
    attrs = {key: window[key] for key in ("stride", "padding", "dilation")}
    return Case(op, {"x": x}, {}, {}, {"kernel_size": window["kernel"], **attrs, "ceil_mode": draw(st.booleans())})


@st.composite
def average_pools(draw: Draw, op: Op, axes: int) -> Case:
    """Draw an average pooling; the batch may be empty."""
    window = draw(windows(axes, half_padding=True, dilated=False))
    x = (draw(size(2, 0)), draw(size(3)), *window["size"])
    divisor = {"count_include_pad": draw(st.booleans()), "divisor_override": draw(st.sampled_from([None, -2, 3]))}
    sizes = {"kernel_size": window["kernel"], "stride": window["stride"], "padding": window["padding"]}
    return Case(op, {"x": x}, {}, {}, {**sizes, "ceil_mode": draw(st.booleans()), **divisor})


@st.composite
def adaptive_pools(draw: Draw, op: Op, axes: int) -> Case:
    """Draw an adaptive pooling, to more pixels too; the batch may be empty."""
    x = (draw(size(2, 0)), draw(size(3)), *(draw(size(13 - 3 * axes)) for _ in range(axes)))
    output_size = tuple(draw(st.none() | size(11 - 3 * axes)) for _ in range(axes))
    return Case(op, {"x": x}, {}, {}, {"output_size": output_size})


@st.composite
def unpools(draw: Draw, op: Op, axes: int) -> Case:
    """Draw an unpooling with indices that may repeat; the batch may be empty."""
    window = draw(windows(axes, half_padding=True, dilated=False))
    x = (draw(size(2, 0)), draw(size(10)), *(draw(size(8 - 2 * axes)) for _ in range(axes)))
    usual = [
        (n - 1) * s - 2 * p + k
        for n, k, s, p in zip(x[2:], *(window[key] for key in ("kernel", "stride", "padding")), strict=True)
    ]
    output_size = tuple(
        draw(size(max(n + s - 1, 1), max(n - s + 1, 1))) for n, s in zip(usual, window["stride"], strict=True)
    )
    assume(all(abs(n - m) < s for n, m, s in zip(output_size, usual, window["stride"], strict=True)))
    attrs = {"kernel_size": window["kernel"], "stride": window["stride"], "padding": window["padding"]}
    integers = {"indices": lambda rng: rng.integers(0, math.prod(output_size), x)}
    return Case(op, {"x": x}, {}, {}, {**attrs, "output_size": output_size}, integers)


SWEEPS = [
    Sweep(op, draw_case(op, axes))
    for draw_case, family in (
        (max_pools, (ops.max_pool1d, ops.max_pool2d, ops.max_pool3d)),
        (average_pools, (ops.avg_pool1d, ops.avg_pool2d, ops.avg_pool3d)),
        (adaptive_pools, (ops.adaptive_max_pool1d, ops.adaptive_max_pool2d, ops.adaptive_max_pool3d)),
        (unpools, (ops.max_unpool1d, ops.max_unpool2d, ops.max_unpool3d)),
        (adaptive_pools, (ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d, ops.adaptive_avg_pool3d)),
    )
    for axes, op in enumerate(family, start=1)
]
