"""Sweeps of convolution."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from gpunet.ops.base import Op
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep, size


@st.composite
def windows(draw: Draw, axes: int, half_padding: bool = False, dilated: bool = True) -> dict[str, tuple[int, ...]]:
    """Draw a window per spatial axis that fits: size, kernel, stride, padding (at most half of it), dilation."""
    drawn = []
    for _ in range(axes):
        kernel, dilation, stride = draw(size(4 - (axes == 3))), draw(size(1 + dilated)), draw(size(3))
        padding = draw(size(kernel // 2 if half_padding else 2, 0))
        least = max(1, dilation * (kernel - 1) + 1 - 2 * padding)
        drawn.append((draw(size(least + 6 - 2 * axes, least)), kernel, stride, padding, dilation))
    names = ("size", "kernel", "stride", "padding", "dilation")
    return dict(zip(names, map(tuple, zip(*drawn, strict=True)), strict=True))


@st.composite
def sizes_and_precision(draw: Draw) -> tuple[tuple[int, int, int], dict[str, bool]]:
    """Draw groups, and channels and outputs of each: few of them, or whole chunks for tensor cores.

    With one group or one channel of each, few channels have kernels of their own.
    """
    if draw(st.booleans()):
        return (draw(size(3)), draw(size(3)), draw(size(3))), {}
    return (draw(size(2)), 4 * draw(size(5)), 4 * draw(size(5))), {"allow_tf32": draw(st.booleans())}


@st.composite
def convolutions(draw: Draw, op: Op, axes: int) -> Case:
    """Draw a convolution; the batch may be empty."""
    window = draw(windows(axes))
    (groups, channels, outputs), precision = draw(sizes_and_precision())
    x = (draw(size(2, 0)), groups * channels, *window["size"])
    w = (groups * outputs, channels, *window["kernel"])
    attrs = {key: window[key] for key in ("stride", "padding", "dilation")}
    b = w[:1] if draw(st.booleans()) else None
    return Case(op, {"x": x, "w": w, "b": b}, {}, {}, {**attrs, "groups": groups, **precision})


@st.composite
def transposed_convolutions(draw: Draw, op: Op, axes: int) -> Case:
    """Draw a transposed convolution of which some pixels are left inside the padding; the batch may be empty."""
    kernel, stride, dilation = (tuple(draw(size(most)) for _ in range(axes)) for most in (4 - (axes == 3), 3, 2))
    extra = tuple(draw(size(max(s, d) - 1, 0)) for s, d in zip(stride, dilation, strict=True))
    inside = [draw(size(6 - axes)) for _ in range(axes)]
    whole = [
        (n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in zip(inside, kernel, stride, dilation, extra, strict=True)
    ]
    padding = tuple(draw(size(min(3, (n - 1) // 2), 0)) for n in whole)
    (groups, channels, outputs), precision = draw(sizes_and_precision())
    x, w = (draw(size(2, 0)), groups * channels, *inside), (groups * channels, outputs, *kernel)
    b = (groups * outputs,) if draw(st.booleans()) else None
    attrs = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": groups}
    return Case(op, {"x": x, "w": w, "b": b}, {}, {}, {**attrs, **precision})


SWEEPS = [
    Sweep(op, draw_case(op, axes))
    for draw_case, family in (
        (convolutions, (ops.conv1d, ops.conv2d, ops.conv3d)),
        (transposed_convolutions, (ops.conv_transpose1d, ops.conv_transpose2d, ops.conv_transpose3d)),
    )
    for axes, op in enumerate(family, start=1)
]
