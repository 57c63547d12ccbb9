"""What NVRTC reports of a kernel, without a GPU."""

from __future__ import annotations

import pytest

from gpunet.backend import kernels, nvrtc
from tests.harness.backends import missing

SPILLS = """extern "C" __global__ void __launch_bounds__(1024, 2) f(float* x) {
    float a[64];
    for (int i = 0; i < 64; ++i) a[i] = x[i * 77 + threadIdx.x];
    for (int k = 0; k < 9; ++k) for (int i = 0; i < 64; ++i) a[i] = a[i] * a[(i * 7 + k) % 64] + x[k];
    for (int i = 0; i < 64; ++i) x[i * 99 + threadIdx.x] = a[i];
}"""
BOUNDS = """#define T 32
__device__ float seen;
extern "C" __global__ void __launch_bounds__(T * 2 + 16, 3) bounded(float* x) {
    __shared__ float s[100];
    s[threadIdx.x] = *x;
    __syncthreads();
    *x = s[99 - threadIdx.x];
}
extern "C" __global__ void plain(float* x) { *x = seen; }
"""


@pytest.fixture(autouse=True)
def _compiler():
    if reason := nvrtc.unavailable():
        missing("emulated", reason)


def test_launch_bounds_are_what_the_compiler_makes_of_them():
    usage = nvrtc.compile_source(kernels.parse("b.cu", BOUNDS), {}, 90).usage
    assert (usage["bounded"].max_threads, usage["bounded"].blocks) == (80, 3)
    assert (usage["plain"].max_threads, usage["plain"].blocks) == (None, 1)
    assert (usage["bounded"].shared_bytes, usage["plain"].shared_bytes) == (400, 0)
    assert 0 < usage["plain"].registers <= usage["plain"].register_limit == 255


@pytest.mark.parametrize(
    ("threads", "blocks", "limit"), [(None, 1, 255), (256, 1, 255), (257, 1, 255), (1024, 1, 64), (128, 8, 64)]
)
def test_the_register_limit_shares_a_multiprocessor(threads, blocks, limit):
    assert nvrtc.Usage(1, 0, 0, threads, blocks).register_limit == limit


def test_spills_are_errors_unless_they_are_asked_for():
    source = kernels.parse("spill.cu", SPILLS)
    with pytest.raises(nvrtc.CompileError, match=r"spill\.cu for sm_90") as error:
        nvrtc.compile_source(source, {}, 90)
    assert "spill stores" in error.value.log
    compiled = nvrtc.compile_source(source, {}, 90, allow_spills=True)
    assert compiled.usage["f"].spill_bytes > 0 and "spilled" in compiled.warnings


def test_an_array_that_a_variable_indexes_lies_on_the_stack():
    text = """extern "C" __global__ void f(int* x, int last) {
        int a[64];
        for (int i = 0; i < last; ++i) a[i] = x[i];
        x[last] = a[x[last] %% 64] + a[%s];
    }"""
    by_variable, unrolled = (text % "last", text.replace("x[last] %% 64", "1").replace("< last", "< 64") % "2")
    sizes = [
        nvrtc.compile_source(kernels.parse("f.cu", t), {}, 90).usage["f"].stack_bytes for t in (by_variable, unrolled)
    ]
    assert sizes == [256, 0]


def test_an_error_names_file_and_line():
    broken = kernels.parse("broken.cu", '#line 1 "broken.cu"\nextern "C" __global__ void f(int* x) { x[0] = y; }')
    with pytest.raises(nvrtc.CompileError, match=r"broken\.cu\(1\)(.|\n)*identifier \"y\" is undefined"):
        nvrtc.compile_source(broken, {}, 90)
