"""kernels/vector.cuh: wide accesses that move the same values at any alignment, and a misaligned one that is found."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import emulator
from gpunet.backend import kernels
from gpunet.errors import KernelError
from tests.harness.backends import missing

TEXT = """
#include "vector.cuh"
extern "C" __global__ void copy(ELEMENT* y, const ELEMENT* x, int count) {
    store_vector(y, load_vector(x, count), count);
}
extern "C" __global__ void load(ELEMENT* y, const ELEMENT* x) { y[0] = load_vector(x).at[0]; }
extern "C" __global__ void store(ELEMENT* y, const ELEMENT* x) { store_vector(y, Vector<ELEMENT>{x[0]}); }
"""
ELEMENTS = {"unsigned char": np.uint8, "unsigned short": np.uint16, "float": np.float32, "double": np.float64}


@pytest.fixture(params=ELEMENTS)
def module(request):
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())
    options = (f"-I{kernels.kernel_dir()}", f"-DELEMENT={request.param}")
    return emulator.RawModule(code=TEXT, options=options), ELEMENTS[request.param]


def aligned(count, dtype, fill):
    """Return so many elements, the first of them at a multiple of 16 bytes."""
    raw = np.empty(count * np.dtype(dtype).itemsize + 16, np.uint8)
    start = -raw.ctypes.data % 16
    array = raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)
    array[:] = fill
    return array


def test_any_number_of_elements_moves_at_any_alignment(module):
    code, dtype = module
    whole = 16 // np.dtype(dtype).itemsize
    for count in range(-1, whole + 2):
        for from_ in range(whole):
            for to in range(whole):
                x, y = aligned(3 * whole, dtype, np.arange(1, 3 * whole + 1)), aligned(3 * whole, dtype, 0)
                code.get_function("copy")((1,), (1,), (y[to:], x[from_:], np.int32(count)))
                expected = np.zeros(3 * whole, dtype)
                moved = min(max(count, 0), whole)
                expected[to : to + moved] = x[from_ : from_ + moved]
                assert np.array_equal(y, expected), (count, from_, to)


@pytest.mark.parametrize("kernel", ["load", "store"])
def test_a_misaligned_vector_is_found(module, kernel):
    code, dtype = module
    x, y = aligned(64, dtype, 1), aligned(64, dtype, 0)
    code.get_function(kernel)((1,), (1,), (y, x))
    assert y[0] == 1
    with pytest.raises(KernelError, match="misaligned"):
        code.get_function(kernel)((1,), (1,), (y[1:], x[1:]))
