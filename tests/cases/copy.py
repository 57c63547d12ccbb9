"""What the backend's own kernels do: fills, and copies into arrays with gaps (most Cases copy into dense ones)."""

from __future__ import annotations

import numpy as np

from tests.harness.case import FLOATS, Special


def fill_sets_every_element(be):
    for dtype in (np.uint8, *FLOATS):
        array = be.empty((5, 3), dtype)
        be.fill(array, 7)
        assert (be.to_numpy(array) == 7).all()


def fill_stays_inside_a_part_that_lies_misaligned(be):
    for dtype in (np.uint8, *FLOATS):
        for start, stop in ((1, 60), (3, 24), (1, 2), (16, 64)):
            array = be.zeros((64,), dtype)
            be.fill(array[start:stop], 7)
            assert be.to_numpy(array).tolist() == [0] * start + [7] * (stop - start) + [0] * (64 - stop)


def copies_fill_any_part_of_an_array_and_nothing_else(be):
    parts = (np.s_[1:4, ::2, 3:0:-1], np.s_[:, 1], np.s_[..., 0], np.s_[2, 3, 1], np.s_[3:3], np.s_[::-1, None])
    for dtype in (np.uint8, *FLOATS, np.int64):
        values = np.arange(120).reshape(5, 6, 4).astype(dtype)
        for part in parts:
            host = np.zeros((5, 6, 4), dtype)
            host[part] = values[part]
            out, x = be.zeros(host.shape, dtype), be.from_numpy(values)
            be.copy(out[part], x[part])
            assert np.array_equal(be.to_numpy(out), host), (dtype, part)


def copies_come_from_misaligned_memory_and_go_to_it(be):
    values = np.arange(1, 13, dtype=np.float32) * np.float32(1.1)
    raw, x = be.zeros((4 * 6 + 2,), np.uint8), be.from_numpy(values)
    out = raw[1:-1].view(np.float32).reshape(2, 3)
    be.copy(out, x[::2].reshape(2, 3))
    assert be.to_numpy(raw).tobytes() == b"\0" + values[::2].tobytes() + b"\0"
    back = be.empty((2, 3), np.float32)
    be.copy(back, out)
    assert np.array_equal(be.to_numpy(back).ravel(), values[::2])


WIDTHS = (np.uint8, np.uint16, np.uint32, np.uint64)


def copies_of_rows_move_vectors_and_nothing_else(be):
    for dtype in WIDTHS:
        x = np.random.default_rng(0).integers(1, 256, (5, 64)).astype(dtype)
        for rows, start, stop in ((5, 0, 64), (5, 16, 48), (4, 3, 35), (3, 16, 16 + 16 // x.itemsize), (1, 5, 62)):
            host, out = np.zeros((5, 66), dtype), be.zeros((5, 66), dtype)
            for shift in (0, 2):
                host[:rows, start + shift : stop + shift] = x[:rows, start:stop]
                be.copy(out[:rows, start + shift : stop + shift], be.from_numpy(x)[:rows, start:stop])
                assert np.array_equal(be.to_numpy(out), host), (dtype, rows, start, stop, shift)
        for length in (1, 37, 64):
            whole, out = x[0, :length], be.zeros((66,), dtype)
            be.copy(out[:length], be.from_numpy(whole))
            assert be.to_numpy(out).tolist() == [*whole.tolist(), *[0] * (66 - length)], (dtype, length)


def transposed_copies_move_every_element_and_nothing_else(be):
    for dtype in WIDTHS:
        for shape in ((8, 9), (33, 32), (2, 67, 64), (2, 3, 9, 65)):
            x = np.random.default_rng(0).integers(1, 256, shape).astype(dtype)
            last_two_swapped = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
            host = np.zeros((*shape[:-2], shape[-1] + 2, shape[-2] + 1), dtype)
            host[..., 1:-1, 1:] = x.transpose(last_two_swapped)
            for source in (x, np.pad(x, [(0, 1)] * x.ndim)):  # a whole array, and a part of one
                out, part = be.zeros(host.shape, dtype), be.from_numpy(source)[tuple(map(slice, shape))]
                be.copy(out[..., 1:-1, 1:], part.transpose(last_two_swapped))
                assert np.array_equal(be.to_numpy(out), host), (dtype, shape)


SPECIALS = [
    Special(("copy_strided",), copies_of_rows_move_vectors_and_nothing_else),
    Special(("copy_transposed",), transposed_copies_move_every_element_and_nothing_else),
    Special(("fill",), fill_sets_every_element),
    Special(("fill",), fill_stays_inside_a_part_that_lies_misaligned),
    Special(("copy_strided", "fill"), copies_fill_any_part_of_an_array_and_nothing_else),
    Special(("copy_strided",), copies_come_from_misaligned_memory_and_go_to_it),
]
