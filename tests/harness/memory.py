"""Ways in which the same values can lie in memory."""

from __future__ import annotations

import numpy as np

from gpunet.backend.layout import CHANNELS_LAST


def _dense(be, array):
    return be.from_numpy(np.array(array, order="C"))


def _channels_last(be, array):
    out = be.empty(array.shape, array.dtype, CHANNELS_LAST)
    be.copy(out, be.from_numpy(np.array(array, order="C")))
    return out


def _reversed(be, array):
    flipped = np.array(array[(..., *(slice(None, None, -1) for _ in array.shape))])
    return be.from_numpy(flipped)[(..., *(slice(None, None, -1) for _ in array.shape))]


def _spread(be, array):
    wide = np.full([2 * n + 1 for n in array.shape], 9, array.dtype)
    wide[(..., *(slice(1, None, 2) for _ in array.shape))] = array
    return be.from_numpy(wide)[(..., *(slice(1, None, 2) for _ in array.shape))]


def _misaligned(be, array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(np.array(array, order="C").tobytes(), np.uint8)
    return be.from_numpy(raw)[1:].view(array.dtype).reshape(array.shape)


def _behind_one(be, array):
    """Dense and aligned, but not to 16 bytes: behind one element of another array."""
    flat = np.concatenate([np.zeros(1, array.dtype), np.ravel(array)])
    return be.from_numpy(flat)[1:].reshape(array.shape)


VARIANTS = {
    "dense": _dense,
    "channels_last": _channels_last,
    "reversed": _reversed,
    "spread": _spread,
    "misaligned": _misaligned,
    "behind one": _behind_one,
}
