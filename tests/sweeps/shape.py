"""Sweeps of shape ops."""

from __future__ import annotations

from hypothesis import strategies as st

from gpunet import ops
from tests.harness.case import Case
from tests.harness.sweep import Draw, Sweep
from tests.sweeps.elementwise import any_shape


@st.composite
def reshapes(draw: Draw) -> Case:
    """Draw a shape and another one with as many elements."""
    shape = draw(any_shape())
    axes = draw(st.permutations(shape))
    at = draw(st.integers(0, len(axes)))
    new = (*axes[:at], -1) if 0 not in axes else tuple(axes)
    return Case(ops.reshape, {"x": shape}, {}, {}, {"shape": new})


@st.composite
def parts(draw: Draw) -> Case:
    """Draw a shape and an index of any kind for some of its axes."""
    shape = draw(any_shape())
    bound, step = st.none() | st.integers(-5, 5), st.none() | st.integers(1, 3)
    index: list[object] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        index.append(draw(st.builds(slice, bound, bound, step) | (st.integers(-n, n - 1) if n else st.nothing())))
    for _ in range(draw(st.integers(0, 2))):
        index.insert(draw(st.integers(0, len(index))), None)
    if draw(st.booleans()):
        index.append(...)
    return Case(ops.getitem, {"x": shape}, {}, {}, {"index": tuple(index)})


@st.composite
def permutations(draw: Draw) -> Case:
    """Draw a shape and an order of its axes, some of them counted from the end."""
    shape = draw(any_shape())
    order = draw(st.permutations(range(len(shape))))
    dims = tuple(axis - len(shape) * draw(st.integers(0, 1)) for axis in order)
    return Case(ops.permute, {"x": shape}, {}, {}, {"dims": dims})


@st.composite
def joins(draw: Draw) -> Case:
    """Draw shapes that differ along one axis, and some without elements that fit everywhere."""
    shape = draw(any_shape().filter(bool))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=4))
    shapes = [(0,) if n is None else (*shape[:axis], n, *shape[axis + 1 :]) for n in sizes]
    axes = len(shape) if any(size != (0,) for size in shapes) else 1
    dim = min(axis, axes - 1) - axes * draw(st.integers(0, 1))
    return Case(ops.cat, {f"x{i}": size for i, size in enumerate(shapes)}, {}, {}, {"dim": dim})


SWEEPS = [
    Sweep(ops.reshape, reshapes()),
    Sweep(ops.getitem, parts()),
    Sweep(ops.permute, permutations()),
    Sweep(ops.cat, joins()),
]
