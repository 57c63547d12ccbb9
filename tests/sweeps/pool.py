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


SWEEPS = [
    Sweep(op, max_pools(op, axes)) for axes, op in enumerate((ops.max_pool1d, ops.max_pool2d, ops.max_pool3d), start=1)
]
