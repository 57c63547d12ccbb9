"""Which kernel copies what: tiles for transpositions, vectors for runs, single elements for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.backend.copies import plan
from gpunet.backend.layout import CHANNELS_LAST, from_memory_view, memory_order


def channels_last(shape, dtype=np.float32):
    memory = np.zeros(tuple(shape[axis] for axis in memory_order(len(shape), CHANNELS_LAST)), dtype)
    return from_memory_view(memory, CHANNELS_LAST)


@pytest.mark.parametrize("shape", [(5, 8, 9), (5, 16, 7, 9), (2, 70, 3, 4, 5)], ids=str)
def test_layouts_are_changed_by_tiles(shape):
    dense, last = np.zeros(shape, np.float32), channels_last(shape)
    channels, pixels = shape[1], int(np.prod(shape[2:]))
    for out, x, rows, columns in ((dense, last, channels, pixels), (last, dense, pixels, channels)):
        made = plan(out, x, aligned=True)
        assert made.kernel == "copy_transposed"
        assert made.grid == (-(-columns // 32), -(-rows // 32), shape[0])
        assert (made.sizes, made.out_strides, made.x_strides) == (
            [shape[0]],
            [4 * columns * rows],
            [4 * columns * rows],
        )
        assert made.rest == (rows, columns, 4 * columns, 4 * rows)


def test_tiles_of_narrow_elements_are_larger():
    sizes = {np.uint8: 64, np.float16: 64, np.float32: 32, np.float64: 32}
    for dtype, side in sizes.items():
        x = np.zeros((1000, 300), dtype)
        made = plan(np.zeros((300, 1000), dtype), x.T, aligned=True)
        assert made.grid == (-(-1000 // side), -(-300 // side), 1) and made.sizes == [], dtype


@pytest.mark.parametrize(
    ("out", "x", "aligned"),
    [
        (np.zeros((9, 7)), np.zeros((7, 9)).T, True),  # few columns
        (np.zeros((7, 9)), np.zeros((9, 7)).T, True),  # few rows
        (np.zeros((40, 50)), np.zeros((50, 40)).T, False),
        (np.zeros((40, 50)), np.zeros((50, 80)).T[::2], True),  # no neighbours in x
        (np.zeros((40, 100))[:, ::2], np.zeros((50, 40)).T, True),  # none in out
        (np.zeros((65536, 8, 8)), np.zeros((65536, 8, 8)).transpose(0, 2, 1), True),  # too many for the grid
    ],
    ids=["columns", "rows", "misaligned", "x", "out", "many"],
)
def test_other_copies_go_element_by_element(out, x, aligned):
    made = plan(out, x, aligned)
    assert (made.kernel, made.grid) == ("copy_strided", (-(-out.size // 256),))
    assert made.rest == (out.size, int(aligned), 0)


def test_runs_are_copied_in_vectors():
    x = np.zeros((10, 3, 64), np.float32)
    whole, rows, odd = x, x[:, :, :60], x[:, :, :62]
    for part, blocks, in_vectors in ((whole, 2, 1), (rows, 2, 1), (odd, 8, 0), (x[..., 0], 1, 0), (x[0, 0, :7], 1, 1)):
        made = plan(np.zeros(part.shape, np.float32), part, aligned=True)
        assert (made.kernel, made.grid, made.rest) == ("copy_strided", (blocks,), (part.size, 1, in_vectors))
    assert plan(np.zeros_like(x), x, aligned=False).rest == (x.size, 0, 0)
    assert plan(np.zeros(()), np.zeros(()), aligned=True).rest == (1, 1, 0)
