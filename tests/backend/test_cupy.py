"""The code of the CUDA backend, on a stand-in for CuPy with two GPUs that checks which one is current.

What CuPy and a GPU make of it, the suite says where there is one: pytest --backend cupy.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from gpunet import backend, emulator, ops
from gpunet.backend import Device, cubins, cupy, emulated, emulated_array, emulated_xp, kernels
from gpunet.cli.main import main
from gpunet.data import RandomInvert
from gpunet.errors import DeviceError, OutOfMemoryError
from gpunet.ops import choices, choices_table, tiles
from gpunet.ops.choices import Choice
from gpunet.tensor import Tensor
from tests.harness.backends import missing

GPUS = 2
LARGEST = 1 << 20  # bytes of an array


class FakeDevice:
    """cupy.cuda.Device: a context in which it is the current one."""

    current = 0
    compute_capability = "90"
    attributes = {"MaxSharedMemoryPerBlockOptin": 227 * 1024}

    def __init__(self, id):
        self.id = id
        self.before = []

    def __enter__(self):
        self.before.append(FakeDevice.current)
        FakeDevice.current = self.id

    def __exit__(self, *error):
        FakeDevice.current = self.before.pop()


class OutOfMemory(MemoryError):
    """What CuPy raises where a GPU has no memory left."""


class ndarray(emulated_array.ndarray):
    """cupy.ndarray: lies on the device that is current when it is made."""

    def __init__(self, shape, dtype=float):
        super().__init__(shape, dtype)
        self._owner.device = FakeDevice(FakeDevice.current)
        if self.nbytes > LARGEST:
            raise OutOfMemory("out of memory allocating")

    def astype(self, *args, **kwargs):
        assert self.device.id == FakeDevice.current, "CuPy makes the copy on the current device, or refuses"
        return super().astype(*args, **kwargs)

    device = property(lambda self: self._owner.device)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.__array_interface__["data"][0]))


ndarray.__module__ = "cupy"


NVRTC = (12, 9)


def machine_code(source, defines):
    """Return what stands for machine code: the text and the options, which the emulator compiles when it is loaded."""
    return json.dumps([source.text, [f"-D{macro}={value}" for macro, value in defines.items()]]).encode()


class RawModule:
    """cupy.RawModule: kernels run on the current device, for which they must be compiled, on its arrays."""

    from_files: ClassVar[list[str]] = []

    def __init__(self, *, code=None, options=None, path=None):
        if path is not None:
            assert code is options is None and isinstance(path, str)
            self.from_files.append(path)
            code, options = json.loads(Path(path).read_bytes())
        else:
            assert isinstance(code, str) and isinstance(options, tuple)
        self.source = kernels.parse("fake", code)
        self.module = emulator.RawModule(code=code, options=options)

    def get_function(self, name):
        function, compiled_for = self.module.get_function(name), FakeDevice.current
        any_memory = [parameter.any_memory for parameter in self.source.kernel(name).parameters]

        def launch(grid, block, args, *, shared_mem):
            assert FakeDevice.current == compiled_for and isinstance(args, tuple)
            assert shared_mem <= getattr(launch, "max_dynamic_shared_size_bytes", 48 * 1024), "more than a GPU grants"
            assert all(arg.device.id == FakeDevice.current for arg in args if isinstance(arg, ndarray))
            function(grid, block, list(map(emulated._on_host, args, any_memory)), shared_mem)

        return launch


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Return the backend of the second GPU, while the first one is current; no kernel is compiled ahead."""
    if reason := emulator.unavailable():
        missing("emulated", reason)
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: GPUS, getDeviceProperties=lambda index: {"name": b"Fake GPU %d" % index}
    )
    memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemory)
    fake = types.ModuleType("cupy")
    vars(fake).update({name: value for name, value in vars(emulated_xp).items() if not name.startswith("_")})
    nvrtc = types.SimpleNamespace(getVersion=lambda: NVRTC)
    fake.cuda = types.SimpleNamespace(Device=FakeDevice, runtime=runtime, memory=memory, nvrtc=nvrtc)
    fake.ndarray, fake.empty, fake.RawModule = ndarray, ndarray, RawModule
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(cupy, "unavailable", lambda: None)
    monkeypatch.setattr(cubins, "folder", lambda: tmp_path)
    RawModule.from_files.clear()
    for module in (emulated_array, emulated_xp):
        monkeypatch.setattr(module, "ndarray", ndarray)  # what functions of the stand-in make
    backend.get.cache_clear()
    yield backend.get(Device("cuda", 1))
    assert FakeDevice.current == 0
    backend.get.cache_clear()


def test_everything_happens_on_the_gpu_of_the_backend(gpu):
    host = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = gpu.from_numpy(host)
    assert x.device.id == gpu.zeros((3,), np.int32).device.id == 1
    assert np.array_equal(gpu.to_numpy(x[:, ::-1, 1:]), host[:, ::-1, 1:])
    assert np.array_equal(gpu.to_numpy(gpu.dense(x.transpose(2, 0, 1), "contiguous")), host.transpose(2, 0, 1))
    assert np.array_equal(gpu.to_numpy(ops.relu(x)), host)
    assert gpu.launched["copy_strided"] == 1


def test_what_the_array_library_computes_lies_there_too(gpu):
    x = gpu.from_numpy(np.full((3, 1, 2, 2), 0.25, np.float32))
    inverted = RandomInvert(1.0)(Tensor(x)).array
    assert inverted.device.id == 1 and gpu.to_numpy(inverted).ravel().tolist() == [0.75] * 12
    assert Tensor(x).to(np.int64).array.device.id == 1


def test_kernels_ask_for_the_shared_memory_that_tiles_need(gpu):
    x, w = np.ones((3, 8), np.float32), np.ones((5, 8), np.float32)
    for tile in tiles.MMA_TILES:
        with choices.force(Choice("tensor", tile)):
            y = ops.linear(gpu.from_numpy(x), gpu.from_numpy(w), allow_tf32=True)
        assert np.array_equal(gpu.to_numpy(y), x @ w.T)
    assert gpu.launched["tiled_gemm_nt"] == len(tiles.MMA_TILES)


def test_gpus_without_tf32_multiply_in_float32(gpu, monkeypatch):
    monkeypatch.setattr(FakeDevice, "compute_capability", "75")
    old = cupy.CupyBackend(1)
    assert (old.arch, gpu.arch) == (75, 90)
    float32, float16, float64 = map(np.dtype, ("f4", "f2", "f8"))
    assert tiles.able(old, float32, allow_tf32=True) == tiles.able(gpu, float32, allow_tf32=False) == ["fma"]
    assert tiles.able(gpu, float32, allow_tf32=True) == ["tensor", "fma"]
    assert tiles.able(gpu, float16, allow_tf32=False) == ["tensor"] and tiles.able(old, float16, True) == []
    assert tiles.able(gpu, float64, allow_tf32=True) == []


def relu(gpu):
    x = np.array([-1, 0, 2], np.float32)
    return gpu.to_numpy(ops.relu(gpu.from_numpy(x))).tolist() == [0, 0, 2]


def test_machine_code_that_was_compiled_ahead_is_loaded(gpu):
    source, macros = kernels.load("activation.cu"), {"REAL": "float"}
    path = cubins.store(source, macros, 90, "12.9", machine_code(source, macros))
    assert relu(gpu)
    assert RawModule.from_files == [str(path)]  # and copies were compiled: there is no such file for them


def test_machine_code_of_anything_else_is_never_loaded(gpu, monkeypatch):
    source, macros = kernels.load("activation.cu"), {"REAL": "float"}
    newer = kernels.parse("activation.cu", source.text + "\n")
    for stale in (
        (newer, macros, 90, "12.9"),
        (source, {"REAL": "double"}, 90, "12.9"),
        (source, macros, 80, "12.9"),
        (source, macros, 90, "13.0"),
        (kernels.load("pool.cu"), macros, 90, "12.9"),
    ):
        cubins.store(*stale, b"it would crash")
    assert relu(gpu) and RawModule.from_files == []


def test_damaged_machine_code_is_compiled_again(gpu):
    source, macros = kernels.load("activation.cu"), {"REAL": "float"}
    path = cubins.store(source, macros, 90, "12.9", machine_code(source, macros))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"activation-sm_90-.*\.cubin is not used: it was changed"):
        assert relu(gpu)
    assert RawModule.from_files == []


def test_the_architectures_and_names_of_the_gpus_here(gpu):
    assert cupy.archs() == [90] and gpu.gpu == "Fake GPU 1"


def test_tuning_times_by_events_on_that_gpu_and_writes_the_table_of_its_model(gpu, tmp_path, monkeypatch, capsys):
    """Events here tell how many tiled kernels were launched before: all others seem to take no time."""

    class Event:
        done = False  # the stream is held until all is queued

        def record(self):
            assert FakeDevice.current == 1
            self.at = 1 + sum(count for name, count in gpu.launched.items() if name.startswith("tiled_"))

        def synchronize(self):
            """What is launched has ended."""

    held = []
    gpu.xp.cuda.Event, gpu.xp.cuda.get_elapsed_time = Event, lambda start, end: end.at - start.at + 1e-3
    gpu.xp.RawKernel = lambda code, name: lambda grid, block, args: held.append((FakeDevice.current, int(args[0])))
    monkeypatch.delenv("GPUNET_CHOICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(choices, "_tables", {})
    assert main(["tune", "--device", "cuda:1", "--quick", "--quiet", "--linear", "batch=3,in=8,out=4"]) == 0
    table = tmp_path / "gpunet" / "choices" / "fake-gpu-1.toml"
    assert capsys.readouterr().out.endswith(f"written: {table}\n") and set(held) == {(1, 2_000_000)}
    assert [row.choice for row in choices_table.read(table)["gemm"]] == [Choice("plain")] * 3
    gpu.launched.clear()
    ops.linear(gpu.from_numpy(np.ones((4, 8), "f4")), gpu.from_numpy(np.ones((4, 8), "f4")), allow_tf32=True)
    assert dict(gpu.launched) == {"gemm": 1} and choices.table(gpu.gpu).user == table


def test_a_lack_of_memory_says_for_what(gpu):
    large = (LARGEST // 4 + 1,)
    for make in (gpu.empty, lambda shape, dtype: gpu.from_numpy(np.ones(shape, dtype))):
        with pytest.raises(OutOfMemoryError, match=rf"cuda:1: no memory for an array of shape \({large[0]},\) float32"):
            make(large, np.float32)


def test_a_gpu_that_is_not_there(gpu):
    with pytest.raises(DeviceError, match=r"cuda:2: there is no such GPU\.\n  expected an index below 2"):
        cupy.CupyBackend(2)
