from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gpunet.emulator import RawModule, asan_environment, build, unavailable
from gpunet.errors import KernelError

ADD = 'extern "C" __global__ void add(int* x) { x[threadIdx.x] += AMOUNT; }\n'


def run_add(module: RawModule) -> int:
    x = np.zeros(1, np.int32)
    module.get_function("add")((1,), (1,), (x,))
    return int(x[0])


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache that already has the runtime and the header, which take long to compile."""
    folder = tmp_path / "cache" / "emulator"
    folder.mkdir(parents=True)
    shutil.copy(build.runtime("fast", build.cache_directory()), folder)
    ahead = build.header("fast", build.cache_directory())
    shutil.copytree(ahead, folder / ahead.name)
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def libraries(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("kernels-"))


def test_cache_keeps_one_library_per_text_options_and_mode(cache):
    assert run_add(RawModule(code=ADD, options=["-DAMOUNT=2"])) == 2
    assert run_add(RawModule(code=ADD, options=["-DAMOUNT=3"])) == 3
    first = libraries(cache)
    assert len(first) == 2
    assert run_add(RawModule(code=ADD, options=["-DAMOUNT=2"])) == 2
    assert libraries(cache) == first
    RawModule(code=ADD + "\n", options=["-DAMOUNT=2"])
    assert len(libraries(cache)) == 3
    assert not [path for path in cache.iterdir() if path.name.startswith("build-")]


def test_race_report_names_the_line_where_the_cache_is_a_symbolic_link(monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(build.cache_directory().parent)
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path / "link"))
    module = RawModule(code=ADD, options=["-DAMOUNT=*x"], mode="race", name="add.cu")
    with pytest.raises(KernelError, match=r"of block \(0,0,0\) at add\.cu:1, after"):
        module.get_function("add")((1,), (2,), (np.zeros(2, np.int32),))


def test_cache_sees_a_change_in_an_included_file(cache, tmp_path):
    header = tmp_path / "amount.cuh"
    code = '#include "amount.cuh"\n' + ADD
    for amount in (4, 5):
        header.write_text(f"#define AMOUNT {amount}\n")
        assert run_add(RawModule(code=code, options=[f"-I{tmp_path}"])) == amount


def test_paths_may_have_bytes_that_are_no_text(cache, monkeypatch):
    odd = os.fsdecode(b"odd \xff")
    folder = cache.parent.with_name(odd)
    cache.parent.rename(folder)
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(folder))
    assert run_add(RawModule(code=ADD, options=["-DAMOUNT=6"], name=f"{odd}.cu")) == 6
    with pytest.raises(KernelError, match=f"{odd}.cu:1:.*AMOUNT"):
        RawModule(code=ADD, name=f"{odd}.cu")


def test_the_line_of_a_fault_names_a_file_with_a_space():
    code = (
        'extern "C" __global__ void __launch_bounds__(64) race(int* x) {\n'
        "    __shared__ int s[64];\n"
        "    s[threadIdx.x] = 1;\n"
        "    x[threadIdx.x] = s[63 - threadIdx.x];\n}\n"
    )
    race = RawModule(code=code, mode="race", name="/a b/my own.cu").get_function("race")
    with pytest.raises(KernelError, match=r"at my own\.cu:3, after .* at my own\.cu:4"):
        race((1,), (64,), (np.zeros(64, np.int32),))


def test_cache_is_safe_for_two_processes_that_build_the_same_kernel(cache):
    script = (
        "import numpy as np; from gpunet.emulator import RawModule\n"
        f"m = RawModule(code={ADD!r}, options=['-DAMOUNT=8']); x = np.zeros(1, np.int32)\n"
        "m.get_function('add')((1,), (1,), (x,)); print(x[0])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in processes] == [b"8", b"8"]
    assert len(libraries(cache)) == 1


def test_cache_directory_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path / "a"))
    assert build.cache_directory() == tmp_path / "a" / "emulator"
    monkeypatch.delenv("GPUNET_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert build.cache_directory() == tmp_path / "b" / "gpunet" / "emulator"


def test_cache_that_cannot_be_written_gives_way_to_a_temporary_one(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPUNET_CACHE_DIR", str(tmp_path / "file"))
    folder = build.cache_directory()
    assert folder.is_dir() and tmp_path not in folder.parents
    assert build.cache_directory() == folder


def test_a_user_without_a_home_has_a_temporary_cache(monkeypatch):
    import pwd

    def no_entry(uid):
        raise KeyError(uid)

    for name in ("GPUNET_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    assert build.cache_directory().is_dir()


def test_a_temporary_cache_goes_with_its_process(tmp_path):
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "GPUNET_CACHE_DIR": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    script = "from gpunet.emulator import build; print(build.cache_directory().is_dir())"
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.stdout == "True\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_compile_error_names_the_line_of_the_directive():
    code = '#line 40 "family.cu"\nextern "C" __global__ void f(int* x) {\n    x[0] = undefined_name;\n}\n'
    with pytest.raises(KernelError) as error:
        RawModule(code=code)
    assert "g++ does not compile the kernel text" in str(error.value)
    assert "family.cu:41" in str(error.value) and "undefined_name" in str(error.value)


@pytest.mark.parametrize("name", ["INFINITY", "NAN", "M_PI"])
def test_macros_that_nvrtc_lacks_do_not_compile(name):
    with pytest.raises(KernelError, match=name):
        RawModule(code=f'extern "C" __global__ void f(double* x) {{ x[0] = {name}; }}')


def test_dynamic_shared_memory_outside_a_function_does_not_compile():
    code = 'extern __shared__ float s[];\nextern "C" __global__ void f(float* x) { x[0] = s[0]; }'
    with pytest.raises(KernelError, match="extern __shared__ must be declared inside a function"):
        RawModule(code=code)


def test_frame_larger_than_a_stack_does_not_compile():
    code = """extern "C" __global__ void f(int* x, int i) {
        int local[20000];
        for (int k = 0; k < 20000; ++k) local[k] = x[k];
        x[i] = local[x[i]];
    }"""
    with pytest.raises(KernelError, match="frame size"):
        RawModule(code=code)


def test_text_without_a_kernel_is_an_error():
    with pytest.raises(KernelError, match="the text has no kernel"):
        RawModule(code="__global__ void not_extern(int* x) {}")


def test_kernels_are_found_behind_macros_and_conditions():
    code = """
    #define KERNEL(name) extern "C" __global__ void name
    KERNEL(made)(int* x) { x[0] = 1; }
    #if 0
    extern "C" __global__ void hidden(int* x) {}
    #endif
    // extern "C" __global__ void commented(int* x) {}
    extern "C" __global__ __launch_bounds__((16 + 16) * 2, 1) void bounded(const int* x, int n) {}
    #ifdef GPUNET_EMULATOR
    extern "C" __global__ void here_only() {}
    #endif
    """
    module = RawModule(code=code)
    assert module.names == ("made", "bounded", "here_only")
    assert module.get_function("bounded").max_threads == 64
    assert [p.name for p in module.get_function("bounded").parameters] == ["x", "n"]


def test_unavailable_says_what_is_missing(monkeypatch):
    assert unavailable() is None
    build.unavailable.cache_clear()
    try:
        monkeypatch.setenv("PATH", "")
        assert "g++" in unavailable() and "apt install g++" in unavailable()
        with pytest.raises(KernelError, match="apt install g\\+\\+"):
            RawModule(code="not compiled before")
        build.unavailable.cache_clear()
        monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
        assert "Linux x86-64 only" in unavailable() and "aarch64" in unavailable()
    finally:
        monkeypatch.undo()
        build.unavailable.cache_clear()


def test_asan_mode_outside_a_prepared_process_is_refused():
    with pytest.raises(KernelError, match="asan_environment"):
        RawModule(code=ADD, mode="asan")
    assert asan_environment().keys() == {"LD_PRELOAD", "ASAN_OPTIONS", "PYTHONMALLOC", "GPUNET_EMULATOR_MODE"}


def test_the_header_is_compiled_once_for_all_kernels(cache, monkeypatch):
    run, messages = build._run, []

    def list_headers(command, stdin=None):
        result = run([*command, "-H"] if "-c" in command else command, stdin)
        messages.append(result.stderr)
        return result

    monkeypatch.setattr(build, "_run", list_headers)
    assert run_add(RawModule(code=ADD, options=["-DAMOUNT=9"])) == 9
    headers = "".join(messages)
    assert re.search(r"^! .*cuda\.h\.gch$", headers, re.MULTILINE), "! marks a precompiled header in use"
    assert "type_traits" not in headers
