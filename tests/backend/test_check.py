"""Launches under checks, in child processes: each planted fault is found by its mode, and told with file and line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from gpunet import emulator
from gpunet.backend import check, child, kernels, launch_text
from gpunet.backend.child import sanitizer_finding
from gpunet.emulator import build
from gpunet.errors import KernelError
from tests.harness.backends import missing

TEXT = """#line 1 "own.cu"
extern "C" __global__ void fine(REAL* y, const REAL* x, float a, long long n, const int* skip) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && !skip) y[i] += a * x[i];
}
extern "C" __global__ void reverse(float* x) {
    __shared__ float s[256];
    s[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = s[255 - threadIdx.x];
}
extern "C" __global__ void past(float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) y[i] = 1;
}
extern "C" __global__ void before(float4* y) { float v = y[-1].x; y[0].x = v; }
extern "C" __global__ void beyond() {
    extern __shared__ float s[];
    s[threadIdx.x] = 1;
}
extern "C" __global__ void overflow(int* y) { y[0] = 2147483647 + y[1]; }
extern "C" __global__ void sum(float* total, const float* x) { atomicAdd(total, x[threadIdx.x]); }
extern "C" __global__ void wild(float* y) { y[1ll << 40] = 3; }
extern "C" __global__ void talks(int* y) { printf("thread %d\\n", threadIdx.x); y[threadIdx.x] = 1; }
extern "C" __global__ void waits(int* flag) { while (atomicAdd(flag, 0) == 0) {} }
struct Pair { int a, b; };
extern "C" __global__ void __launch_bounds__(64) bounded(Pair p, unsigned char* bytes) {}
extern "C" __global__ void column(float* y) {
    __shared__ float s[1024];
    s[threadIdx.x * 32] = y[threadIdx.x];
    __syncthreads();
    if (y[threadIdx.x] > 100) __trap();
    y[threadIdx.x] = s[threadIdx.x];
}
"""
SOURCE = kernels.parse("own.cu", TEXT)


@pytest.fixture(scope="module", autouse=True)
def _emulator():
    if reason := emulator.unavailable():
        missing("emulated", reason)


def test_bank_conflicts_are_told_with_file_and_line_and_are_no_finding():
    column, reverse = "column<<<1, {}>>>(y=float[32]={})", "reverse<<<1, 256>>>(x=float[256])"
    launches = [column.format(32, 0), column.format(1, 0), column.format(32, 200), reverse]
    conflicts = [result.bank_conflicts for result in results(*launches)]
    line = next(number for number, text in enumerate(TEXT.splitlines()) if "threadIdx.x * 32" in text)
    words = f"column: write of 4 bytes at own.cu:{line}: 32-way bank conflicts (32 wavefronts instead of 1)"
    assert conflicts == [[words], [], [], []], "what traps tells nothing"
    assert not any(results(launches[0])[0].findings.values())


def results(*launches, **options):
    return check.check(SOURCE, [{"REAL": "float"}], [launch_text.parse(launch) for launch in launches], **options)


def findings(*launches, **options):
    parsed = [launch_text.parse(launch) for launch in launches]
    results = check.check(SOURCE, [{"REAL": "float"}], parsed, **options)
    assert [result.launch for result in results] == parsed
    return [{mode: finding for mode, finding in result.findings.items() if finding} for result in results]


def test_a_good_kernel_passes_in_every_mode_and_variant():
    launch = launch_text.parse("fine<<<4, 64>>>(n=200, y=REAL[200], a=2, x=REAL[200], skip=null)")
    results = check.check(SOURCE, [{"REAL": "float"}, {"REAL": "double"}], [launch])
    assert [result.defines["REAL"] for result in results] == ["float", "double"]
    for result in results:
        assert result.findings == {"race": None, "bounds": None, "schedules": None}


def test_a_kernel_may_print():
    assert findings("talks<<<1, 3>>>(y=int[3]=0)", "past<<<4, 64>>>(y=float[200], n=100)") == [{}, {}]


def test_planted_faults_are_found_with_file_and_line():
    race, past, before, beyond, overflow, order = findings(
        "reverse<<<1, 256>>>(x=float[256])",
        "past<<<4, 64>>>(y=float[200], n=200)",
        "before<<<1, 1>>>(y=float4[3])",
        "beyond<<<1, 32, shared=124>>>()",
        "overflow<<<1, 1>>>(y=int[2]=1)",
        "sum<<<1, 256>>>(total=float[1]=0, x=float[256])",
    )
    assert set(race) == {"race", "schedules"}
    assert "reverse: race in shared memory reverse::s" in race["race"] and "own.cu:7" in race["race"]
    assert race["schedules"].startswith("the order of threads decides the result: x[0] is ")
    assert past["bounds"] == (
        "heap-buffer-overflow: write of 4 bytes, 0 bytes after the end of y (800 bytes) at own.cu:12"
    )
    assert past["schedules"] == "past, argument y: wrote outside an array of shape (200,) float32"
    assert set(before) == {"bounds"}
    assert before["bounds"] == "heap-buffer-overflow: read of 4 bytes, 16 bytes before y (48 bytes) at own.cu:14"
    assert beyond == {
        "bounds": "heap-buffer-overflow: write of 4 bytes, 0 bytes after the end of shared memory (124 bytes) "
        "at own.cu:17"
    }
    assert set(overflow) == {"bounds"} and overflow["bounds"].endswith("in type 'int' at own.cu:19")
    assert set(order) == {"schedules"} and "total[0] is" in order["schedules"]


def test_a_kernel_that_crashes_or_never_ends_ends_its_child_only():
    wild, past = findings("wild<<<1, 1>>>(y=float[3])", "past<<<4, 64>>>(y=float[200], n=100)")
    assert wild["race"] == "the process was ended by SIGSEGV, as by an access far outside of the arrays"
    assert wild["bounds"] == "SEGV: write at own.cu:21" and past == {}
    (waits,) = findings("waits<<<1, 1>>>(flag=int[1]=0)", timeout=1)
    assert set(waits) == set(check.MODES)
    assert waits["race"] == "it did not end in time: threads wait for each other, or there are too many"


def test_a_finding_ends_the_child_and_the_others_run_in_new_ones(monkeypatch):
    launches = [launch_text.parse(f"past<<<1, 2>>>(y=float[1], n={n})") for n in (0, 1, 0, 0, 0)]
    job = {"file": "own.cu", "text": TEXT, "defines": {"REAL": "float"}, "seed": 0, "timeout": 60, "mode": "schedules"}
    told = [{"launch": launch.text, "where": launch.where} for launch in launches]
    written, ended = check.run_in_child("gpunet.backend.check", {**job, "launches": told}, "schedules")
    found = [line["finding"] for line in written if "finding" in line]
    assert ended is None and found == [None, "past, argument y: wrote outside an array of shape (1,) float32"]
    answers = iter(
        [
            ([{"finding": None}, {"finding": "found"}], "fell at its end, harmed by what was found"),
            ([{"arrays": {}}], "fell"),
            ([{"finding": None}, {"finding": None}], "fell at its very end"),
        ]
    )
    monkeypatch.setattr(check, "run_in_child", lambda *_: next(answers))
    assert check._findings(job, launches, "race") == [None, "found", "fell", None, "fell at its very end"]
    assert next(answers, None) is None


UNFIT = [
    ("gone<<<1, 1>>>()", r"there is no kernel 'gone'\.(.|\n)*expected fine, reverse, past"),
    ("past<<<1, 1>>>(y=float[1])", r"the argument n is missing\.(.|\n)*expected y, n"),
    ("past<<<1, 1>>>(y=float[1], n=1, m=2)", r"past has no parameter m\.(.|\n)*expected y, n"),
    ("past<<<1, 1>>>(y=double[1], n=1)", r"argument 0 \(y\)(.|\n)*array of float32, got an array \(1\) float64"),
    ("past<<<1, 1>>>(y=1, n=1)", r"argument 0 \(y\)(.|\n)*expected a NumPy array of float32, got int 1"),
    ("past<<<1, 1>>>(y=null, n=1.5)", r"argument 1 \(n\)(.|\n)*expected an int or a NumPy int32, got float 1\.5"),
    ("past<<<1, 1>>>(y=null, n=2147483648)", r"argument 1 \(n\)(.|\n)*expected an integer from -2147483648"),
    ("past<<<1, 1>>>(y=null, n=int[3])", r"argument 1 \(n\)"),
    ("past<<<1, 1>>>(y=float16[3], n=1)", r"float16\[\.\.\.\] cannot be made: own\.cu: unknown type 'float16'"),
    ("past<<<1, 2000>>>(y=float[1], n=1)", r"the block has bad sizes"),
    ("bounded<<<1, 65>>>(p=1, bytes=null)", r"p is a struct, which no launch text can give(.|\n)*RawModule"),
    ("overflow<<<1, 1>>>(y=int[2]=5000000000)", r"int\[\.\.\.\] cannot be made: "),
    ("overflow<<<1, 1>>>(y=int[2]=1.5)", r"int\[\.\.\.\] cannot be made: 1\.5 is no integer"),
    ("overflow<<<1, 1>>>(y=int[2]=nan)", r"int\[\.\.\.\] cannot be made: "),
    ("overflow<<<1, 1>>>(y=int[2]=inf)", r"int\[\.\.\.\] cannot be made: "),
    ("reverse<<<1, 256, shared=300000>>>(x=null)", r"the dynamic shared memory has a bad size"),
]


@pytest.mark.parametrize(("text", "message"), UNFIT, ids=[text for text, _ in UNFIT])
def test_a_launch_that_does_not_fit_is_refused_before_anything_runs(monkeypatch, text, message):
    monkeypatch.setattr(check, "run_in_child", None)
    with pytest.raises(KernelError, match=message) as error:
        check.check(SOURCE, [{"REAL": "float"}], [launch_text.parse(text, "own.cu:2")])
    assert str(error.value).startswith("own.cu:2: ") and text in str(error.value)


def test_text_that_does_not_compile_is_one_error_with_file_and_line():
    broken = kernels.parse("b.cu", '#line 1 "b.cu"\n\nextern "C" __global__ void f(int* x) { x[0] = y; }')
    with pytest.raises(KernelError, match=r"b\.cu: g\+\+ does not compile(.|\n)*b\.cu:2:\d+: error: .y. was not"):
        check.check(broken, [{}], [launch_text.parse("f<<<1, 1>>>(x=int[1])")])


def test_arrays_hold_the_same_random_numbers_each_time():
    def contents(text, seed=0):
        launch = launch_text.parse(f"f<<<1, 1>>>(a={text})")
        array = launch.arguments["a"]
        return check._contents(SOURCE, {"REAL": "double"}, launch, array, np.random.default_rng([seed, 1]))

    first = contents("REAL[300]")
    assert first.dtype == np.float64 and abs(first.mean()) < 0.3 and 0.7 < first.std() < 1.3
    assert first.tobytes() == contents("REAL[300]").tobytes() != contents("REAL[300]", seed=1).tobytes()
    assert set(contents("long long[300]").tolist()) == set(range(8)) and contents("long long[3]").dtype == np.int64
    assert set(contents("bool[300]").tolist()) == {False, True}
    assert contents("uint3[4, 5]").shape == (4, 5, 3) and contents("uint3[1]").dtype == np.uint32
    assert contents("half[4]").dtype == np.float16 and contents("unsigned char[3]=255").tolist() == [255] * 3


def test_reports_of_other_compilers_are_read_too():
    report = (
        "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x10\nREAD of size 8 at 0x10 thread T0\n"
        "    #0 0x1 in __interceptor_memcpy ../libsanitizer/common.inc:5\n"
        "    #1 0x2 in atomicAdd(int*, int) /x/gpunet/emulator/cuda.h:99\n"
        "    #2 0x3 in void f<float>(float*) /x/tile.cuh:42\n"
        "0x10 is located 4 bytes after 12-byte region [0x4,0x10)\n"
    )
    assert sanitizer_finding(report, {"w": 9, "x": 4}) == (
        "heap-buffer-overflow: read of 8 bytes, 4 bytes after the end of x (12 bytes) at tile.cuh:42"
    )
    assert sanitizer_finding("Traceback: ValueError", {}) is None


@pytest.mark.parametrize("function", ["saxpy", "void f<float>(float*)", "A<&(f)>::run(int, char**) const"])
@pytest.mark.parametrize("folder", ["", "/x/", "/my folder/"])
@pytest.mark.parametrize("file", ["own.cu", "my own.cu", "own (1).cu"])
def test_files_and_folders_in_reports_may_have_spaces(function, folder, file):
    report = (
        "==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x10\nREAD of size 8 at 0x10 thread T0\n"
        "    #0 0x2 in atomicAdd(int*, int) /a b/gpunet/emulator/cuda.h:99:7\n"
        f"    #1 0x3 in {function} {folder}{file}:42:7\n    #2 0x4 in run x.cu:1\n"
    )
    assert sanitizer_finding(report, {}) == f"heap-buffer-overflow: read of 8 bytes at {file}:42"
    undefined = f"{folder}{file}:3:23: runtime error: signed integer overflow\n"
    assert sanitizer_finding(undefined, {}) == f"signed integer overflow at {file}:3"


def test_a_child_that_fails_for_another_reason_is_an_error():
    with pytest.raises(KernelError, match=r"the race check failed: (.|\n)*No module named gpunet\.gone"):
        check.run_in_child("gpunet.gone", {}, "race")


def test_children_share_the_cache_of_their_parent_even_a_temporary_one(monkeypatch, tmp_path):
    told = {}

    def run(command, *, env, **_):
        told.update(env)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(child.subprocess, "run", run)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path / "file"))
    assert child.run_in_child("gpunet.backend.check", {}, "race") == ([], None)
    assert Path(told["GPUNET_CACHE_DIR"], "emulator") == build.cache_directory()
