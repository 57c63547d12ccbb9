"""Cases of the norm of gradients and of clipping."""

from __future__ import annotations

import numpy as np

from gpunet import ops
from gpunet.ops.chunks import KERNEL_CHUNK, count_chunks
from tests.harness.case import FLOATS, Case, Special

INF = float("inf")


def table(*rows):
    return {"chunks": lambda rng: np.array(rows, np.int64).reshape(-1, 3)}


def partials_case(id, size, count, order, tables):
    shapes = {"partials": (count,), "x": (size,), "chunks": None}
    attrs = {"order": order}
    return Case(
        ops.norm_partials, shapes, {"norm_partials": 1}, attrs=attrs, wide=("partials",), integers=tables, id=id
    )


def total_case(count, order, id=""):
    shapes, attrs = {"partials": (count,)}, {"order": order}
    return Case(ops.norm_total, shapes, {"norm_total": 1}, attrs=attrs, positive=("partials",), id=id or f"{order}")


def by_norm_case(id, size, tables, max_norm):
    shapes = {"x": (size,), "total": (), "chunks": None}
    launches, attrs = {"clip_by_norm": 1}, {"max_norm": max_norm}
    return Case(
        ops.clip_by_norm, shapes, launches, attrs=attrs, wide=("total",), positive=("total",), integers=tables, id=id
    )


def by_value_case(id, size, tables, clip_value):
    attrs = {"clip_value": clip_value}
    return Case(
        ops.clip_by_value, {"x": (size,), "chunks": None}, {"clip_by_value": 1}, attrs=attrs, integers=tables, id=id
    )


CASES = [
    partials_case("2", 300, 1, 2.0, {}),
    partials_case("1-table", 300, 3, 1.0, table((0, 7, 0), (20, 271, 0), (9, 0, 0))),
    partials_case("long", 2100, 2, 2.0, table((3, 70, 0), (75, 2025, 0))),
    partials_case("inf", 40, 2, INF, table((3, 30, 9), (35, 5, 9))),
    partials_case("2.5", 40, 1, 2.5, {}),
    *(total_case(count, order) for count, order in ((1100, 2.0), (3, 1.0), (5, INF), (2, 2.5))),
    total_case(0, 2.0, id="empty"),
    by_norm_case("table", 40, table((0, 7, 0), (10, 20, 0)), 0.05),
    by_norm_case("whole", 2100, {}, 0.01),
    by_norm_case("small-enough", 40, {}, 1e9),
    by_value_case("table", 40, table((0, 7, 0), (10, 20, 0)), 0.5),
    by_value_case("whole", 2100, {}, 1.0),
]


def chunks_of_equal_length_cover_a_long_array(be):
    for size in (KERNEL_CHUNK - 1, KERNEL_CHUNK, KERNEL_CHUNK + 1, 3 * KERNEL_CHUNK + 5):
        host = np.ones(size + 8, np.float32)
        host[size - 1] = 3
        whole, total = be.from_numpy(host), be.from_numpy(np.array(4, np.float32))
        partials = be.empty((count_chunks(be, size, None),), np.float32)
        ops.norm_partials(partials, whole[:size])
        assert be.to_numpy(partials).sum() == size + 8
        ops.clip_by_norm(whole[:size], total, max_norm=3.9)
        np.testing.assert_allclose(be.to_numpy(whole), [*host[:size] * 0.975, *[1] * 8], rtol=1e-6)
        ops.clip_by_value(whole[:size], None, 0.25)
        assert be.to_numpy(whole).tolist() == [*[0.25] * size, *[1] * 8]


def a_wrong_table_stays_inside_the_array(be):
    chunks = be.from_numpy(np.array([[-3, 5, 0], [6, 100, 0], [20, 5, 0], [5, -2, 0]]))
    for clip in (
        lambda x: ops.clip_by_norm(x, be.from_numpy(np.array(4, np.float32)), chunks, 1.0),
        lambda x: ops.clip_by_value(x, chunks, 0.5),
    ):
        whole = be.from_numpy(np.ones(12, np.float32))
        clip(whole[2:10])
        assert np.flatnonzero(be.to_numpy(whole) != 1).tolist() == [2, 3, 8, 9]
    partials = be.from_numpy(np.ones(4, np.float32))
    ops.norm_partials(partials, whole[2:10], chunks, 1.0)
    assert be.to_numpy(partials).tolist() == [1, 1, 0, 0]


def nan_reaches_norm_and_gradient_whatever_comes_after_it(be):
    for order in (1.0, 2.0, 2.5, INF):
        for place in (0, 127, 128, 1023, 1024, 1099):  # of threads 0, 31, 32, 255, and again 0, 18
            host = np.ones(1100, np.float32)
            host[place] = np.nan
            x, partials = be.from_numpy(host), be.empty((1,), np.float32)
            ops.norm_partials(partials, x, None, order)
            assert np.isnan(be.to_numpy(partials)).all(), (order, place)
            total = ops.norm_total(x, order)
            assert np.isnan(be.to_numpy(total)), (order, place)
    ops.clip_by_value(x, None, 0.5)
    assert np.isnan(be.to_numpy(x)).sum() == 1
    ops.clip_by_norm(x, total)
    assert np.isnan(be.to_numpy(x)).all()


def infinite_gradients_become_what_pytorch_makes_of_them(be):
    for dtype in FLOATS:
        x = be.from_numpy(np.array([np.inf, 1, -1], dtype))
        partials = be.empty((1,), np.float64 if dtype == np.float64 else np.float32)
        ops.norm_partials(partials, x)
        ops.clip_by_norm(x, ops.norm_total(partials))
        result = be.to_numpy(x).astype(np.float64)
        assert np.isnan(result[0]) and result[1:].tolist() == [0, 0]


SPECIALS = [
    Special(("norm_partials", "clip_by_norm", "clip_by_value"), chunks_of_equal_length_cover_a_long_array),
    Special(("norm_partials", "clip_by_norm", "clip_by_value"), a_wrong_table_stays_inside_the_array),
    Special(
        ("norm_partials", "norm_total", "clip_by_norm", "clip_by_value"),
        nan_reaches_norm_and_gradient_whatever_comes_after_it,
    ),
    Special(("norm_partials", "norm_total", "clip_by_norm"), infinite_gradients_become_what_pytorch_makes_of_them),
]
