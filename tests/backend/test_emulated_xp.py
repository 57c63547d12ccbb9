"""The stand-in for CuPy has CuPy's names and signatures, and refuses what CuPy refuses.

The names are compared with the installed CuPy, which needs no driver for that. What happens at run time is written
down once and tested on both: where there is a GPU, the same tests say whether CuPy agrees.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re

import numpy as np
import pytest

from gpunet.backend import emulated_array
from gpunet.backend import emulated_xp as stand_in
from tests.harness.backends import missing

UFUNCS = [name for name, value in vars(stand_in).items() if isinstance(value, stand_in._Ufunc)]
FUNCTIONS = [name for name, value in vars(stand_in).items() if inspect.isfunction(value) and name[0] != "_"]
METHODS = [name for name, value in vars(stand_in.ndarray).items() if callable(value) and name[0] != "_"]
IMPORTED = {"Any", "Callable", "Iterator", "Sequence", "annotations", "np", "npt"}
# What Python itself gives a class: two names since 3.13, and __slotnames__ once an instance was copied.
FROM_PYTHON = {"__weakref__", "__firstlineno__", "__static_attributes__", "__slotnames__"}


@pytest.fixture(scope="module")
def cupy():
    """Return CuPy's module; it imports without a GPU."""
    try:
        import cupy
    except ImportError:
        missing("cupy", "CuPy is not installed")
    return cupy


# Names and signatures.


def signature_of(function):
    """Return a signature by `inspect`, or from the first line of the docstring, where Cython writes it."""
    try:
        return inspect.signature(function)
    except ValueError:
        return signature_in(function.__doc__.strip().splitlines()[0])


def signature_in(line):
    """Read a signature from a line such as "_ndarray_base.sort(self, int axis=-1, kind=None) -> X"."""
    text = re.sub(r"\b\w+ (?=\w+\s*[,=]|\w+$)", "", re.search(r"\((.*)\)", line)[1])  # without the types of C
    found = ast.parse(f"def f({text}): ...").body[0].args
    kind = inspect.Parameter
    padded = [None] * (len(found.args) - len(found.defaults)) + found.defaults
    parameters = [parameter(*each, kind.POSITIONAL_OR_KEYWORD) for each in zip(found.args, padded, strict=True)]
    parameters += [parameter(argument, None, kind.VAR_POSITIONAL) for argument in [found.vararg] if argument]
    parameters += [
        parameter(*group, kind.KEYWORD_ONLY) for group in zip(found.kwonlyargs, found.kw_defaults, strict=True)
    ]
    return inspect.Signature(parameters)


def parameter(argument, default, kind):
    if default is None:
        return inspect.Parameter(argument.arg, kind)
    value = float if getattr(default, "id", "") == "float" else ast.literal_eval(default)
    return inspect.Parameter(argument.arg, kind, default=value)


def shape_of(signature):
    """Split a signature into what must be a prefix (by position) and what must be a subset (by keyword)."""
    by_position = [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY]
    by_keyword = {(p.name, p.default) for p in signature.parameters.values() if p.kind == p.KEYWORD_ONLY}
    return by_position, by_keyword


def assert_part_of(ours, theirs):
    """Fail unless every call that fits our signature means the same under theirs."""
    positions, keywords = shape_of(ours)
    all_positions, all_keywords = shape_of(theirs)
    assert positions == all_positions[: len(positions)] and keywords <= all_keywords, f"{ours} is no part of {theirs}"
    left_out = [
        default for _, kind, default in all_positions[len(positions) :] if kind != inspect.Parameter.VAR_KEYWORD
    ]
    assert inspect.Parameter.empty not in left_out, f"{ours} leaves out what {theirs} requires"


def test_nothing_is_offered_that_cupy_has_not(cupy):
    names = {name for name in vars(stand_in) if name[0] != "_"} - IMPORTED
    assert len(names) > 35 and names == {*UFUNCS, *FUNCTIONS, "ndarray"}
    assert [name for name in sorted(names) if not hasattr(cupy, name)] == []
    members = [name for name in vars(stand_in.ndarray) if name[0] != "_" or name.startswith("__")]
    assert [name for name in members if not hasattr(cupy.ndarray, name) and name not in FROM_PYTHON] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_cupys_signature(cupy, name):
    assert not isinstance(getattr(cupy, name), cupy.ufunc), f"{name} is a ufunc in CuPy"
    assert_part_of(inspect.signature(getattr(stand_in, name)), signature_of(getattr(cupy, name)))


@pytest.mark.parametrize("name", METHODS)
def test_methods_have_cupys_signature(cupy, name):
    assert_part_of(inspect.signature(getattr(stand_in.ndarray, name)), signature_of(getattr(cupy.ndarray, name)))


def test_the_constructor_has_cupys_signature(cupy):
    line = cupy.ndarray.__doc__.strip().splitlines()[0]
    assert line.startswith("__init__(shape")
    assert_part_of(inspect.signature(stand_in.ndarray), signature_in(line))


def test_attributes_are_attributes_in_cupy(cupy):
    names = [name for name, value in vars(stand_in.ndarray).items() if isinstance(value, property)]
    assert len(names) > 8
    assert [name for name in names if callable(getattr(cupy.ndarray, name))] == []
    assert stand_in.ndarray.__array_priority__ == cupy.ndarray.__array_priority__
    assert stand_in.ndarray.__hash__ is cupy.ndarray.__hash__ is None
    from cupy._core.flags import Flags

    assert [name for name in emulated_array._Flags._fields if not hasattr(Flags, name)] == []


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_take_and_return_what_cupys_do(cupy, name):
    """Compare inputs, outputs, and the dtype of the result for every combination of input dtypes."""
    ours, theirs = getattr(stand_in, name), getattr(cupy, name)
    assert isinstance(theirs, cupy.ufunc)
    assert (ours.nin, ours.nout) == (theirs.nin, theirs.nout) and ours.nout == 1
    for dtypes in itertools.product("?bhilBHILefd", repeat=ours.nin):
        expected = result_dtype(theirs.types, dtypes)
        if (name, *dtypes) in (("subtract", "?", "?"), ("negative", "?")):
            expected = None  # listed, but the routine only raises
        try:
            found = ours(*(stand_in.ones(2, dtype) for dtype in dtypes)).dtype.char
        except TypeError:
            found = None
        assert found == expected, dtypes


def result_dtype(types, dtypes):
    """Return the dtype of the first routine that takes the inputs safely; E is bfloat16."""
    for inputs, output in (entry.split("->") for entry in types if "E" not in entry):
        if all(np.can_cast(np.dtype(given), np.dtype(taken)) for given, taken in zip(dtypes, inputs, strict=True)):
            return np.dtype(output).char
    return None


def test_ufuncs_are_called_as_cupys(cupy):
    parameters = inspect.signature(stand_in._Ufunc.__call__).parameters
    assert list(parameters) == ["self", "args", "out", "dtype", "casting"]
    assert parameters["casting"].default == cupy.add._default_casting == "same_kind"


# What happens at run time, on the stand-in and on CuPy.

on_device = pytest.mark.only_backends("emulated", "cupy")


@pytest.fixture
def xp(be):
    return be.xp


@pytest.fixture
def x(xp):
    return xp.asarray(np.arange(6.0).reshape(2, 3))


@on_device
def test_no_implicit_way_to_the_host(x):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    assert not isinstance(x, np.ndarray)
    assert np.array_equal(x.get(), np.arange(6.0).reshape(2, 3))


REFUSED = {
    "host array": (TypeError, lambda xp, x, h: xp.add(x, h)),
    "host operand on the right": (TypeError, lambda xp, x, h: x * h),
    "host operand on the left": (TypeError, lambda xp, x, h: h + x),
    "host operand in place": (TypeError, lambda xp, x, h: x.__iadd__(h)),
    "host array without axes": (TypeError, lambda xp, x, h: xp.add(x, np.array(1.0))),
    "NumPy's ufunc in mixed company": (TypeError, lambda xp, x, h: np.add(x, h)),
    "list": (TypeError, lambda xp, x, h: xp.add(x, [1.0, 2.0, 3.0])),
    "None": (TypeError, lambda xp, x, h: xp.add(x, None)),
    "host array where": (TypeError, lambda xp, x, h: xp.where(x > 1, h, x)),
    "half a where": (ValueError, lambda xp, x, h: xp.where(x > 1, x)),
    "host output": (TypeError, lambda xp, x, h: xp.add(x, x, out=h)),
    "output of another shape": (ValueError, lambda xp, x, h: xp.add(x, x, out=xp.zeros((3, 2)))),
    "output that would be broadcast to": (ValueError, lambda xp, x, h: xp.add(x, x, out=xp.zeros((4, 2, 3))[:, :, :1])),
    "output of a lower kind": (TypeError, lambda xp, x, h: xp.add(x, x, out=xp.zeros((2, 3), int))),
    "two outputs": (ValueError, lambda xp, x, h: xp.add(x, x, x, out=x)),
    "too many inputs": (TypeError, lambda xp, x, h: xp.exp(x, x, x)),
    "unknown keyword": (TypeError, lambda xp, x, h: xp.add(x, x, where=x > 1)),
    "sum into another shape": (ValueError, lambda xp, x, h: xp.sum(x, axis=0, out=xp.zeros(2))),
    "sum that would be broadcast": (ValueError, lambda xp, x, h: xp.sum(x, axis=0, out=xp.zeros((2, 3)))),
    "sum into a host array": (TypeError, lambda xp, x, h: xp.sum(x, axis=0, out=np.zeros(3))),
    "maximum of nothing": (ValueError, lambda xp, x, h: xp.max(x[:0])),
    "host array assigned": (ValueError, lambda xp, x, h: x.__setitem__(slice(None), h)),
    "list assigned": (ValueError, lambda xp, x, h: x.__setitem__(slice(None), [1.0, 2.0, 3.0])),
    "assignment that does not fit": (ValueError, lambda xp, x, h: x.__setitem__(0, xp.zeros(2))),
    "host array filled in": (ValueError, lambda xp, x, h: x.fill(h)),
    "host array copied to": (ValueError, lambda xp, x, h: xp.copyto(x, h)),
    "unsafe copy": (TypeError, lambda xp, x, h: xp.copyto(xp.zeros(3, int), x[0])),
    "host arrays joined": (TypeError, lambda xp, x, h: xp.concatenate([x, h])),
    "scalars joined": (TypeError, lambda xp, x, h: xp.concatenate([x, 1.0])),
    "set of another dtype": (TypeError, lambda xp, x, h: x.set(h.astype(np.float32))),
    "set of another shape": (ValueError, lambda xp, x, h: x.set(h[0])),
    "set through gaps": (RuntimeError, lambda xp, x, h: x[:, ::2].set(h[:, ::2])),
    "item of several": (ValueError, lambda xp, x, h: x.item()),
    "truth of several": (ValueError, lambda xp, x, h: bool(x)),
    "length without axes": (TypeError, lambda xp, x, h: len(x.sum())),
    "iteration without axes": (TypeError, lambda xp, x, h: iter(x.sum())),
    "float index": (IndexError, lambda xp, x, h: x[x]),
    "dtype that no GPU has": (ValueError, lambda xp, x, h: xp.zeros(3, np.longdouble)),
    "dtype of objects": (ValueError, lambda xp, x, h: xp.empty(3, object)),
    "big-endian dtype": (ValueError, lambda xp, x, h: xp.empty(3, ">f4")),
    "casting in astype": (TypeError, lambda xp, x, h: x.astype(int, casting="safe")),
    "NumPy's other flags": (AttributeError, lambda xp, x, h: x.flags.aligned),
    "hash": (TypeError, lambda xp, x, h: hash(x)),
}


@on_device
@pytest.mark.parametrize(("error", "call"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(xp, x, error, call):
    with pytest.raises(error):
        call(xp, x, np.ones((2, 3)))
    assert np.array_equal(x.get(), np.arange(6.0).reshape(2, 3))


@on_device
def test_scalars_of_python_and_numpy_are_operands(xp, x):
    single = x.astype(np.float32)
    for scalar, dtype in ((2, "f4"), (2.0, "f4"), (True, "f4"), (np.float32(2), "f4"), (np.float64(2), "f8")):
        assert (single * scalar).dtype == (scalar * single).dtype == xp.maximum(single, scalar).dtype == dtype
        assert xp.where(single > 1, scalar, single).dtype == dtype
    x[0] = np.float32(7)
    x[1] = np.array(8)
    assert x.get().tolist() == [[7, 7, 7], [8, 8, 8]]
    x.fill(np.array(9))
    xp.copyto(x[0], np.array([3.0]))
    assert x.get().tolist() == [[3, 3, 3], [9, 9, 9]]


@on_device
def test_reductions_return_arrays_without_axes(xp, x):
    for result in (x.sum(), x.max(), x.argmax(), xp.sum(x), xp.max(x), xp.argmax(x)):
        assert isinstance(result, xp.ndarray) and result.shape == ()
    for result in (x[0, 0], xp.add(x[0, 0], 1), -x[0, 0]):
        assert isinstance(result, xp.ndarray) and result.shape == ()


@on_device
def test_outputs_are_filled_and_returned(xp, x):
    out = xp.empty((2, 3), np.float32)
    assert xp.add(x, x[0], out=out) is out
    assert xp.multiply(x[0], 2, out) is out and out.get().tolist() == [[0, 2, 4]] * 2
    assert xp.exp(out, out=out) is out
    whole = xp.empty(3, int)
    assert xp.sum(x, axis=0, out=whole) is whole and whole.get().tolist() == [3, 5, 7]
    shifted = xp.arange(4.0)
    xp.add(shifted[:-1], 10, out=shifted[1:])
    assert shifted.get().tolist() == [0, 10, 11, 12]


@on_device
def test_results_are_c_ordered(xp, x):
    for result in (x.T + 1.0, xp.exp(x.T), xp.where(x.T > 1, x.T, 0), x.T.copy(), xp.concatenate([x.T, x.T])):
        assert result.flags.c_contiguous
    assert x.T.sum(axis=0, keepdims=True).flags.c_contiguous and xp.stack([x.T, x.T]).flags.c_contiguous


@on_device
def test_conversions_keep_the_order_of_memory(xp, x):
    cube = xp.asarray(np.arange(24.0).reshape(2, 3, 4)).transpose(0, 2, 1)
    for converted in (x.T.astype(np.float32), xp.asarray(x.T, np.float32)):
        assert converted.flags.f_contiguous and not converted.flags.c_contiguous
    assert cube.astype(np.float32).strides == tuple(s // 2 for s in cube.strides)
    assert cube.astype(np.float32, "C").flags.c_contiguous and x.astype(float, copy=False) is x
    assert x.astype(float) is not x and cube[:0].astype(np.float32).shape == (0, 4, 3)
    assert xp.asarray(np.ones((2, 3), order="F")).flags.f_contiguous
    assert xp.asarray(np.ones((2, 3, 4)).transpose(0, 2, 1)).flags.c_contiguous
    assert xp.asarray(np.arange(4.0)[::-1]).get().tolist() == [3, 2, 1, 0]


@on_device
def test_views_share_memory_and_copies_do_not(x):
    x[0, 1:].fill(7)
    assert x.get().tolist() == [[0, 7, 7], [3, 4, 5]]
    y = x.copy()
    y += 1.0
    assert x.get()[1, 0] == 3 and y.get()[1, 0] == 4
    assert x.T.reshape(2, 3).get().tolist() == [[0, 3, 7], [4, 7, 5]]
    x.ravel()[0] = 9
    assert x.get()[0, 0] == 9


@on_device
def test_bits_are_bits(xp):
    ones, twos = xp.asarray(np.array([1, 2])), xp.asarray(np.array([2, 2]))
    assert (ones & twos).get().tolist() == [0, 2] and (ones | twos).get().tolist() == [3, 2]
    assert (~ones).get().tolist() == [-2, -3] and (~(ones > 1)).get().tolist() == [True, False]


@on_device
def test_a_device_does_not_warn(xp):
    zero = xp.zeros(2, np.float32)
    assert np.isnan((zero / zero).get()).all() and np.isinf(xp.exp(zero + 1000).get()).all()
    assert np.isneginf(xp.log(zero).get()).all() and xp.sum(zero - np.inf).item() == -np.inf


# What only the stand-in does.


@pytest.mark.only_backends("emulated")
def test_uninitialised_memory_is_poisoned(xp):
    assert np.isnan(xp.empty((3,), np.float32).get()).all() and (xp.empty(3, np.uint8).get() == 255).all()


@pytest.mark.only_backends("emulated")
def test_host_arrays_as_indices_are_refused_where_cupy_would_upload_them(x):
    for index in (np.array([0]), (0, np.array([1]))):
        with pytest.raises(TypeError, match="Unsupported type"):
            x[index]
        with pytest.raises(TypeError, match="Unsupported type"):
            x[index] = 1


TRANSFERS = {
    "get": (1, 0, lambda xp, x: x.get()),
    "asnumpy": (1, 0, lambda xp, x: xp.asnumpy(x)),
    "item": (1, 0, lambda xp, x: x.sum().item()),
    "float": (1, 0, lambda xp, x: float(x.sum())),
    "int": (1, 0, lambda xp, x: int(x.sum())),
    "truth": (1, 0, lambda xp, x: bool(x.sum())),
    "mask": (1, 0, lambda xp, x: x[x > 1]),
    "upload": (0, 1, lambda xp, x: xp.asarray(np.ones(2))),
    "set": (0, 1, lambda xp, x: x.set(np.ones((2, 3)))),
    "list as index": (0, 1, lambda xp, x: x[[0, 1]]),
    "arithmetic": (0, 0, lambda xp, x: xp.where(x * 2 + xp.full((2, 3), 4.0) > 3, x, 0).sum(axis=1)),
    "views": (0, 0, lambda xp, x: [x[0], x.T[1:, None], x.reshape(3, 2), x.view(np.int64)]),
    "making arrays": (0, 0, lambda xp, x: [xp.zeros(3), xp.ones(3), xp.arange(3), xp.empty(3), xp.asarray(x)]),
    "assigning": (0, 0, lambda xp, x: [x.fill(1), x.__setitem__(0, 2.0), x.__setitem__(x > 1, 0), xp.copyto(x, 3)]),
}


@pytest.mark.only_backends("emulated")
@pytest.mark.parametrize(("reads", "writes", "call"), TRANSFERS.values(), ids=TRANSFERS)
def test_every_transfer_is_counted(xp, x, reads, writes, call):
    emulated_array.transfers.clear()
    call(xp, x)
    assert (emulated_array.transfers["reads"], emulated_array.transfers["writes"]) == (reads, writes)
