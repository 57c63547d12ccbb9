from __future__ import annotations

import numpy as np
import pytest

from gpunet.emulator import Parameter, RawModule
from gpunet.errors import KernelError

CODE = """
struct Geometry { int height, width; long long stride; };
__constant__ float scale[3];
__device__ int counter;
extern "C" __global__ void every_kind(float* y, const double* x, int n, unsigned u, long long big, float f, double d,
                                      bool flag, Geometry g, const unsigned char* bytes, const Geometry* list) {
    if (y) y[0] = (float)(x[0] + n + u + big + f + d + flag + g.height + g.width + g.stride);
    if (bytes) y[0] += bytes[0];
    if (list) y[0] += list[1].width;
}
extern "C" __global__ void scaled(float* y) { y[threadIdx.x] *= scale[threadIdx.x]; counter = 7; }
extern "C" __global__ void __launch_bounds__(64) bounded() {}
"""
GEOMETRY = np.dtype([("height", "i4"), ("width", "i4"), ("stride", "i8")])


@pytest.fixture(scope="module")
def module():
    return RawModule(code=CODE)


@pytest.fixture
def arguments():
    return {
        "y": np.zeros(1, np.float32),
        "x": np.ones(1),
        "n": 2,
        "u": np.uint32(3),
        "big": 4,
        "f": 0.5,
        "d": np.float64(0.25),
        "flag": True,
        "g": np.array((10, 20, 30), GEOMETRY),
        "bytes": None,
        "list": None,
    }


def call(module, arguments, **changes):
    module.get_function("every_kind")((1,), (1,), tuple((arguments | changes).values()))


def test_module_lists_its_kernels_and_their_parameters(module):
    assert module.names == ("every_kind", "scaled", "bounded")
    assert module.get_function("every_kind").parameters == (
        Parameter("pointer", 8, "f4", False, "y"),
        Parameter("pointer", 8, "f8", True, "x"),
        Parameter("int", 4, "", False, "n"),
        Parameter("uint", 4, "", False, "u"),
        Parameter("int", 8, "", False, "big"),
        Parameter("float", 4, "", False, "f"),
        Parameter("float", 8, "", False, "d"),
        Parameter("uint", 1, "", False, "flag"),
        Parameter("struct", 16, "", False, "g"),
        Parameter("pointer", 8, "u1", True, "bytes"),
        Parameter("pointer", 8, "V16", True, "list"),
    )
    assert module.get_function("bounded").max_threads == 64


def test_module_without_the_kernel_names_those_it_has(module):
    with pytest.raises(KernelError, match=r"no kernel 'scale'(.|\n)*one of bounded, every_kind, scaled"):
        module.get_function("scale")


def test_arguments_of_every_kind_arrive(module, arguments):
    call(module, arguments)
    assert arguments["y"][0] == 1 + 2 + 3 + 4 + 0.5 + 0.25 + 1 + 10 + 20 + 30
    geometries = np.array([(1, 2, 3), (4, 5, 6)], GEOMETRY)
    call(module, arguments, bytes=np.full(1, 200, np.uint8), list=geometries, g=geometries[0])
    assert arguments["y"][0] == 11.75 + 1 + 2 + 3 + 200 + 5
    call(module, arguments, y=None, n=np.int32(-1), f=np.float32(1))


WRONG = [
    ("y", np.zeros(1), r"argument 0 \(y\)(.|\n)*a NumPy array of float32, got an array \(1\) float64"),
    ("y", np.zeros(1, ">f4"), r"got an array \(1\) >f4"),
    ("y", 3, "got int 3"),
    ("y", [1.0], "got list"),
    ("y", np.zeros(9, np.uint8)[1:5].view(np.float32), "memory aligned to 4 bytes"),
    ("x", np.ones(1, np.float32), "a NumPy array of float64"),
    ("n", 2**31, r"an integer from -2147483648 to 2147483647 \(int32\), got int 2147483648"),
    ("n", 2.0, "an int or a NumPy int32, got float 2.0"),
    ("n", True, "got bool True"),
    ("n", np.int64(2), "got int64 2"),
    ("n", None, "got NoneType None"),
    ("u", -1, "an integer from 0 to 4294967295"),
    ("u", np.int32(3), "a NumPy uint32, got int32 3"),
    ("big", 2**63, "int64"),
    ("f", 1, "a float or a NumPy float32, got int 1"),
    ("f", 1e39, "a float that fits float32, got float 1e"),
    ("f", np.float64(1), "got float64 1"),
    ("flag", 2, "an integer from 0 to 1"),
    ("g", np.zeros(1, GEOMETRY), "a 0-d structured array or a NumPy scalar of 16 bytes"),
    ("g", np.zeros((), np.float32), "of 16 bytes, got an array"),
    ("list", np.zeros(3, np.uint8), "whole structs of 16 bytes"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_wrong_argument_is_refused_before_the_launch(module, arguments, name, value, text):
    with pytest.raises(KernelError, match=text) as error:
        call(module, arguments, **{name: value})
    assert str(error.value).startswith("every_kind: argument ")
    assert arguments["y"][0] == 0


def test_read_only_array_goes_to_const_pointers_only(module, arguments):
    frozen = np.ones(1)
    frozen.flags.writeable = False
    call(module, arguments, x=frozen)
    y = arguments["y"].copy()
    y.flags.writeable = False
    with pytest.raises(KernelError, match="an array that can be written"):
        call(module, arguments, y=y)


def test_wrong_number_of_arguments_is_refused(module, arguments):
    with pytest.raises(KernelError, match=r"expected 11 arguments \(y, x, n, .*\), got 1"):
        module.get_function("every_kind")((1,), (1,), (arguments["y"],))


@pytest.mark.parametrize(
    ("grid", "block", "shared", "text"),
    [
        ((1,), (65,), 0, r"at most the 64 of the kernel's launch bounds, got 65"),
        ((1,), (0,), 0, "the block has bad sizes"),
        ((1,), (1, 1, 65), 0, "1024, 1024 and 64"),
        ((1, 65536), (1,), 0, "the grid has bad sizes"),
        ((1, 1, 65536), (1,), 0, "2147483647, 65535 and 65535"),
        ((0,), (1,), 0, r"got \(0,\)"),
        ((), (1,), 0, "the grid has bad sizes"),
        ((1, 1, 1, 1), (1,), 0, "1 to 3 integers"),
        (1, (1,), 0, "got 1"),
        ((1,), (1,), 227 * 1024 + 1, "expected 0 to 232448 bytes, got 232449"),
        ((1,), (1,), -1, "got -1"),
    ],
)
def test_launch_limits_are_checked(module, grid, block, shared, text):
    with pytest.raises(KernelError, match=text):
        module.get_function("bounded")(grid, block, (), shared)


def test_block_has_at_most_1024_threads(module):
    with pytest.raises(KernelError, match="at most the 1024 that a block can have, got 2048"):
        module.get_function("scaled")((1,), (32, 32, 2), (np.zeros(1, np.float32),))


def test_globals_are_views(module):
    module.get_global("scale", np.float32, 3)[:] = [1, 2, 3]
    y = np.ones(3, np.float32)
    module.get_function("scaled")((1,), (3,), (y,))
    assert y.tolist() == [1, 2, 3]
    assert module.get_global("counter", np.int32, ()) == 7
    with pytest.raises(KernelError, match="there is no variable 'scales'"):
        module.get_global("scales", np.float32, 3)


def test_module_takes_code_or_path(tmp_path):
    with pytest.raises(KernelError, match="either code or path"):
        RawModule()
    with pytest.raises(KernelError, match=r"missing\.cu cannot be read: No such file"):
        RawModule(path=tmp_path / "missing.cu")
    (tmp_path / "binary.cu").write_bytes(b"\xff\xfe")
    with pytest.raises(KernelError, match=r"binary\.cu cannot be read: it is not UTF-8 text"):
        RawModule(path=tmp_path / "binary.cu")
    with pytest.raises(KernelError, match="no such mode"):
        RawModule(code=CODE, mode="slow")
    file = tmp_path / "twice.cu"
    file.write_text('extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= FACTOR; }')
    x = np.ones(2, np.float32)
    RawModule(path=file, options=["-DFACTOR=2"]).get_function("twice")((1,), (2,), (x,))
    assert x.tolist() == [2, 2]
