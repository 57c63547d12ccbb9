"""Finding kernels, reading their signatures, refusing wrong arguments before a launch."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import emulator, ops
from gpunet.backend import kernels
from gpunet.backend.dtypes import is_half
from gpunet.backend.emulated import compile_options
from gpunet.errors import KernelError

TEXT = """
// extern "C" __global__ void ghost(int x) {}
struct Sizes { int n, m; long long step[2]; };  // a comment
struct Nested { Sizes sizes; REAL scale; };
/* extern "C" __global__ void other_ghost(int x) {} */
extern "C" __global__ void __launch_bounds__(128) scale(
    REAL* __restrict__ y, const REAL* x, const unsigned char* raw_bytes, REAL* extra_or_null, Nested s,
    unsigned int n) {
}
extern "C" __global__ void plain(float* y) { y[0] = 1; }
"""


def test_signatures_are_read_from_the_text():
    source = kernels.parse("t.cu", TEXT)
    assert list(source.kernels) == ["scale", "plain"]
    scale = source.kernels["scale"]
    assert [(p.name, p.type, p.pointer, p.const) for p in scale.parameters] == [
        ("y", "REAL", True, False),
        ("x", "REAL", True, True),
        ("raw_bytes", "unsigned char", True, True),
        ("extra_or_null", "REAL", True, False),
        ("s", "Nested", False, False),
        ("n", "unsigned int", False, False),
    ]
    assert [p.nullable for p in scale.parameters] == [False, False, False, True, False, False]
    assert [p.any_memory for p in scale.parameters] == [False, False, True, False, False, False]
    assert (scale.launch_bounds, source.kernels["plain"].launch_bounds) == ("128", None)


PARAMETERS = [
    ("const float* __restrict__ x", "const float* x"),
    ("float const *x", "const float* x"),
    ("float *const __restrict__ x", "float* x"),
    ("const int n", "const int n"),
    ("unsigned long long n", "unsigned long long n"),
    ("float x[]", "float* x"),
    ("const float4 *v", "const float4* v"),
    ("struct Sizes s", "Sizes s"),
    ("size_t n", "size_t n"),
]


@pytest.mark.parametrize(("text", "expected"), PARAMETERS, ids=[text for text, _ in PARAMETERS])
def test_parameters_are_read_however_they_are_written(text, expected):
    source = kernels.parse("p.cu", f'extern "C" __global__ void f({text}) {{}}')
    assert [str(parameter) for parameter in source.kernels["f"].parameters] == [expected]


def test_bounds_may_be_expressions_and_parameters_void():
    text = 'extern "C" __global__ void __launch_bounds__(32 * (W + 1), 2) f(void) {}'
    kernel = kernels.parse("b.cu", text).kernels["f"]
    assert (kernel.launch_bounds, kernel.parameters) == ("32 * (W + 1), 2", ())


def test_structs_get_the_layout_that_c_gives_them():
    dtype = kernels.parse("t.cu", TEXT).dtype("Nested", {"REAL": "float"})
    assert dtype.itemsize == 32 and dtype.fields["scale"][1] == 24
    assert dtype["sizes"].fields["step"][1] == 8


@pytest.mark.only_backends("emulated")
@pytest.mark.parametrize("file", kernels.kernel_files())
def test_the_compiler_sees_the_same_signatures(be, file):
    source = kernels.load(file)
    for defines in kernels.variants(file):
        module = emulator.RawModule(code=source.text, options=compile_options(defines))
        assert set(module.names) == set(source.kernels)
        for name, kernel in source.kernels.items():
            theirs = module.get_function(name).parameters
            for ours, other in zip(kernel.parameters, theirs, strict=True):
                dtype = source.dtype(ours.type, defines)
                assert (other.kind == "pointer", other.const) == (ours.pointer, ours.pointer and ours.const), ours
                assert other.size == (8 if ours.pointer else dtype.itemsize), ours
                if ours.pointer:
                    kind = "V" if is_half(dtype) else dtype.kind  # a struct of two bytes
                    assert other.pointee == f"{kind}{dtype.itemsize}", ours


def test_includes_are_inlined_once_with_line_numbers():
    text = kernels.load("conv.cu").text
    assert text.count("struct Axes {") == 1 and '#line 1 "common.cuh"' in text
    lines = text.splitlines()
    start = max(i for i, line in enumerate(lines) if line.endswith('"conv.cu"'))
    number = int(lines[start].split()[1])
    original = (kernels.kernel_dir() / "conv.cu").read_text().splitlines()
    assert lines[start + 1 : start + 20] == original[number - 1 : number + 18]


def test_anybodys_file_is_read_with_what_it_includes_from_beside_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.cuh").write_text('#pragma once\n#include "c.cuh"\n#define B 1\n')
    (tmp_path / "inner" / "c.cuh").write_text("#define C 2\n")
    path = tmp_path / "a.cu"
    path.write_text(
        '#include <none_of_ours>\n#include "inner/b.cuh"  // why\n# include "inner/c.cuh"\n'
        'extern "C" __global__ void f(int* x) { *x = B + C; }\n'
    )
    source = kernels.read(path)
    assert list(source.kernels) == ["f"] and source.file == path.as_posix()
    assert source.text.count("#define C 2") == source.text.count("#define B 1") == 1 and "pragma" not in source.text
    places, number, file = {}, 0, ""
    for line in source.text.splitlines():
        number += 1
        if line.startswith("#line"):
            _, at, file = line.split()
            number, file = int(at) - 1, file.strip('"')
        places[line] = f"{file.removeprefix(tmp_path.as_posix())}:{number}"
    assert places["#define B 1"] == "/inner/b.cuh:3" and places["#define C 2"] == "/inner/c.cuh:1"
    assert places['extern "C" __global__ void f(int* x) { *x = B + C; }'] == "/a.cu:4"


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "a.cu"
    with pytest.raises(KernelError, match=r"a\.cu: the file cannot be read: No such file"):
        kernels.read(path)
    path.write_text('\n#include "gone.cuh"\n')
    with pytest.raises(KernelError, match=r'a\.cu:2: there is no file "gone\.cuh" beside a\.cu'):
        kernels.read(path)
    path.write_text("__global__ void mangled(int* x) {}\n")
    with pytest.raises(KernelError, match=r'a\.cu: the file declares no kernel(.|\n)*hint: write extern "C"'):
        kernels.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KernelError, match=r"a\.cu: the file cannot be read: it is not UTF-8 text"):
        kernels.read(path)


def test_unknown_names_are_named():
    with pytest.raises(KernelError, match=r"no kernel file 'nope\.cu'(.|\n)*conv\.cu"):
        kernels.load("nope.cu")
    with pytest.raises(KernelError, match=r"gemm\.cu has no kernel 'gem'; it has gemm"):
        kernels.load("gemm.cu").kernel("gem")
    with pytest.raises(KernelError, match=r"cannot read the parameter 'float &x' of f"):
        kernels.parse("bad.cu", 'extern "C" __global__ void f(float &x) {}')
    with pytest.raises(KernelError, match="no C type for dtype complex64"):
        kernels.c_type(np.complex64)


def test_missing_kernels_are_reported_with_the_places_searched(monkeypatch):
    monkeypatch.setattr(kernels, "_KNOWN_FILE", "missing.cuh")
    with pytest.raises(
        KernelError, match=r"the CUDA sources are missing(.|\n)*looked in .*kernels(.|\n)*hint: reinstall"
    ):
        kernels.kernel_dir()


def good(be):
    """Return correct arguments of relu_forward."""
    return [be.zeros((4,), np.float32), be.zeros((4,), np.float32), 4]


def strided(be):
    return be.zeros((8,), np.float32)[::2]


def misaligned(be):
    return be.zeros((17,), np.uint8)[1:].view(np.float32)


@pytest.mark.only_backends("emulated", "cupy")
def test_a_pointer_whose_name_says_so_takes_gaps_but_no_other_memory(be):
    gaps, size = kernels.Parameter("x_strided", "float", pointer=True), np.dtype(np.float32)
    assert be._array_problem(strided(be), size, gaps) is None
    assert be._array_problem(misaligned(be), size, gaps) == "is not aligned to 4 bytes"
    assert be._array_problem(strided(be), np.dtype(np.int32), gaps) == "must be int32, got float32"


WRONG = [
    (lambda be, a: a[:2], r"takes 3 arguments \(y, x, count\), got 2"),
    (lambda be, a: [*a, 1], r"takes 3 arguments \(y, x, count\), got 4"),
    (lambda be, a: [be.zeros((4,), np.float64), *a[1:]], "y must be float32, got float64"),
    (lambda be, a: [a[0], np.zeros(4, np.float32), 4], r"x must be an array on \S+, got numpy\.ndarray"),
    (lambda be, a: [a[0], None, 4], "x must not be null"),
    (lambda be, a: [a[0], strided(be), 4], r"x must be dense, got strides \(8,\) for shape \(4,\)"),
    (lambda be, a: [a[0], misaligned(be), 4], "x is not aligned to 4 bytes"),
    (lambda be, a: [*a[:2], 4.0], r"parameter count is long long \(int64\), which cannot hold 4\.0"),
    (lambda be, a: [*a[:2], 2**63], "parameter count is long long"),
    (lambda be, a: [*a[:2], True], "parameter count is long long"),
    (lambda be, a: [*a[:2], a[0]], "parameter count is long long"),
]


@pytest.mark.only_backends("emulated", "cupy")
@pytest.mark.parametrize(("change", "text"), WRONG, ids=[text[:30] for _, text in WRONG])
def test_wrong_arguments_are_refused_before_the_launch(be, change, text):
    before = dict(be.launched)
    with pytest.raises(KernelError, match=f"relu_forward: {text}"):
        be.launch("activation.cu", "relu_forward", 1, 256, change(be, good(be)), REAL=np.float32)
    assert be.launched["relu_forward"] == before.get("relu_forward", 0)


@pytest.mark.only_backends("emulated", "cupy")
def test_wrong_macros_grids_and_structs_are_refused(be):
    with pytest.raises(KernelError, match=r"activation\.cu needs the macros \('REAL',\), got \(\)"):
        be.launch("activation.cu", "relu_forward", 1, 256, good(be))
    with pytest.raises(KernelError, match=r"the grid .* exceeds the limit"):
        be.launch("activation.cu", "relu_forward", (1, 70000), 256, good(be), REAL=np.float32)
    with pytest.raises(KernelError, match=r"struct Gemm has the fields .*'M', 'N', 'K'.*, got \('M',\)"):
        be.struct("gemm.cu", "Gemm", M=1)
    with pytest.raises(KernelError, match="kernels walk at most 8 axes"):
        be.axes([2] * 9, [1] * 9)
    with pytest.raises(KernelError, match=r"copy: \(3,\) float32 does not fit"):
        be.copy(be.zeros((4,), np.float32), be.zeros((3,), np.float32))


def test_a_number_that_overflows_becomes_infinite_without_a_word(be):
    x = be.from_numpy(np.ones(1, np.float32))
    assert be.to_numpy(ops.mul(x, -1e300)) == -np.inf


@pytest.mark.only_backends("emulated", "cupy")
def test_an_empty_grid_launches_nothing(be):
    before = be.launched["relu_forward"]
    be.launch("activation.cu", "relu_forward", 0, 256, good(be), REAL=np.float32)
    assert be.launched["relu_forward"] == before


@pytest.mark.only_backends("emulated")
def test_a_write_outside_an_array_is_found(be):
    y, x = be.zeros((4,), np.float32), be.zeros((8,), np.float32)
    with pytest.raises(KernelError, match=r"relu_forward: wrote outside an array of shape \(4,\) float32"):
        be.launch("activation.cu", "relu_forward", 1, 256, (y, x, 5), REAL=np.float32)
