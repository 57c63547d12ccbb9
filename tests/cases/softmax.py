"""Cases of softmax: rows of neighbours, made by lanes of a warp or by a block, and rows of one thread each."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from tests.harness.case import Case, Special


def softmax_case(op, x, dim, id=""):
    name = op.__name__

    def same_in_torch(torch, x, dim):
        return getattr(torch.nn.functional, name)(x, dim)

    gradient = {"x": {f"{name}_backward": 1}}
    return Case(op, {"x": x}, {f"{name}_forward": 1}, gradient, {"dim": dim}, torch=same_in_torch, id=id)


CASES = [
    softmax_case(op, x, dim, id)
    for op in (ops.softmax, ops.log_softmax)
    for x, dim, id in (
        ((6, 10), 1, ""),
        ((5, 1), 1, "rows-of-one"),
        ((300, 2), 1, "more-rows-than-threads"),
        ((67, 3), -1, "a-lane-per-row"),
        ((19, 16), 1, "whole-vectors"),
        ((9, 33), 1, "half-a-warp"),
        ((5, 70), -1, "a-warp"),
        ((3, 264), 1, "vectors-of-a-warp"),
        ((2, 1040), 1, "a-block"),
        ((1, 4104), 1, "a-large-block"),
        ((2, 1033), 1, "a-block-without-vectors"),
        ((3, 5, 4), 1, "strided"),
        ((2, 8, 3), 1, "strided-in-vectors"),
        ((67, 3), 0, "first-axis"),
        ((2, 3, 9, 8), 1, "channels"),
        ((7,), 0, "one-row"),
    )
]


def a_block_takes_rows_in_turns(be):
    """In groups of each kind; a group that found what its last row left in shared memory would be wrong."""
    for lanes, count, size in ((1, 600, 3), (4, 150, 10), (32, 19, 200), (256, 5, 600), (512, 3, 700)):
        x = np.random.default_rng(0).standard_normal((count, size)).astype(np.float32)
        rows = be.struct("softmax.cu", "Rows", count=count, size=size, inner=1, lanes=lanes, per_block=count - 1)
        y = be.empty(x.shape, x.dtype)
        be.launch("softmax.cu", "softmax_forward", 2, max(lanes, 256), (y, be.from_numpy(x), rows), REAL=x.dtype)
        np.testing.assert_allclose(be.to_numpy(y), ops.softmax(x, 1), rtol=1e-5, atol=1e-9)


def rows_of_extreme_values(be):
    """The largest is found among infinities and numbers near the end of the range, NaN only where it must be."""
    inf = np.inf
    for dtype, low in ((np.float32, -1e37), (np.float64, -1e300)):
        x = np.array([[-inf, 0, 0], [0, -inf, 0], [low, low, low], [-inf] * 3, [inf, 0, 0], [low, 0, np.nan]], dtype)
        nan = np.full(3, np.nan)
        expected = [[0, 0.5, 0.5], [0.5, 0, 0.5], [1 / 3] * 3, nan, nan, nan]
        for copies in (1, 32):  # a row of one thread, and of several, some of which have nothing but -infinity
            y = be.to_numpy(ops.softmax(be.from_numpy(np.repeat(x, copies, axis=1)), 1))
            np.testing.assert_allclose(y, np.repeat(expected, copies, axis=1) / copies, rtol=1e-6)


SPECIALS = [
    Special(("softmax_forward",), a_block_takes_rows_in_turns),
    Special(("softmax_forward",), rows_of_extreme_values),
]
