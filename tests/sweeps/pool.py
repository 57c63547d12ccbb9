"""Sweeps of pooling."""

from __future__ import annotations

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


SWEEPS = [
    Sweep(op, draw_case(op, axes))
    for draw_case, family in (
        (max_pools, (ops.max_pool1d, ops.max_pool2d, ops.max_pool3d)),
        (average_pools, (ops.avg_pool1d, ops.avg_pool2d, ops.avg_pool3d)),
        (adaptive_pools, (ops.adaptive_max_pool1d, ops.adaptive_max_pool2d, ops.adaptive_max_pool3d)),
        (adaptive_pools, (ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d, ops.adaptive_avg_pool3d)),
    )
    for axes, op in enumerate(family, start=1)
]
