"""What the backend's own kernels do: fills (strided copies are launched by most Cases)."""

from __future__ import annotations

import numpy as np

from tests.harness.case import FLOATS, Special


def fill_sets_every_element(be):
    for dtype in (np.uint8, *FLOATS):
        array = be.empty((5, 3), dtype)
        be.fill(array, 7)
        assert (be.to_numpy(array) == 7).all()


SPECIALS = [Special(("fill",), fill_sets_every_element)]
