"""Windows of pooling: what the CPU walks is what a table of all taps of all outputs says."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.ops import windows

small = st.integers(1, 5)


@st.composite
def geometries(draw):
    """Draw an axis of 1-D pooling, adaptive or not, whose windows fit."""
    size = draw(st.integers(1, 12))
    if draw(st.booleans()):
        return windows.adaptive_geometry((1, 1, size), (draw(st.integers(1, 14)),))
    kernel, stride, dilation = draw(small), draw(small), draw(small)
    padding = draw(st.integers(0, kernel // 2))
    size = max(size, dilation * (kernel - 1) + 1 - 2 * padding)
    return windows.window_geometry((1, 1, size), (kernel,), (stride,), (padding,), (dilation,), draw(st.booleans()))


@given(geometries())
@settings(max_examples=300, deadline=None)
def test_walks_agree_with_the_table_of_taps(g):
    table = windows._seen(g)[2]
    seen = table >= 0
    assert np.array_equal(windows.elements(g, with_padding=False)[2], seen.sum(axis=1))
    assert np.array_equal(windows.first_taps(g)[0, 0], seen.argmax(axis=1))
    times = np.bincount(table[seen], minlength=g.in_size[2])
    assert windows.sharing(g) == (bool(times.max() <= 1), bool((times == 1).all()))
    by_output = np.full_like(table, -1)
    for (_, _, tap), (_, _, output), (_, _, inputs) in windows.output_steps(g):
        positions = range(g.in_size[2])[inputs]
        by_output[output, tap : tap + len(positions)] = positions
    assert np.array_equal(by_output, table)
    if g.stride[2]:
        by_tap = np.full_like(table, -1)
        for tap, (_, _, outputs), (_, _, inputs) in windows.tap_steps(g):
            by_tap[outputs, tap] = range(g.in_size[2])[inputs]
        assert np.array_equal(by_tap, table)


def test_walks_take_little_memory_however_large_windows_are():
    g = windows.window_geometry((1, 1, 100_000), (501,), (1,), (0,), (1,), False)
    tracemalloc.start()
    windows.axis_steps(g), windows.tap_steps(g), windows.first_taps(g), windows.sharing(g), windows.elements(g, True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # a table of all taps has 400 MB
