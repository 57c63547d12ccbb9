"""The stopwatch of the GPU's run: what it measures is the device's work, in turns, and it tells when it is not."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from bench.gpu import probe, rig, stopwatch
from gpunet.backend import kernels, nvrtc
from tests.harness.backends import missing


class Stream:
    """A stream with a clock of its own, in seconds: the device works on what is queued while the host goes on.

    Work takes the seconds that it was launched with; the host's own time passes by `host`.
    """

    def __init__(self):
        self.now, self.free = 0.0, 0.0  # the host's clock, and when the device has done everything
        self.log = []
        stream = self

        class Event:
            def record(self):
                stream.log.append("event")
                self.at = stream.free = max(stream.free, stream.now)

            @property
            def done(self):
                return stream.now >= self.at

            def synchronize(self):
                stream.now = max(stream.now, self.at)

        self.Event = Event

    def get_elapsed_time(self, start, end):
        assert end.done, "CUDA refuses to tell before the event is reached"
        return (end.at - start.at) * 1e3

    def launch(self, seconds, host=0.0, name="work"):
        self.now += host
        self.free = max(self.free, self.now) + seconds
        self.log.append(name)

    def hold(self, seconds):
        self.launch(seconds, name="hold")


@pytest.fixture
def stream():
    return Stream()


def rig_of(stream, rounds=(7, 25)):
    return SimpleNamespace(cuda=stream, hold=stream.hold, rounds=rounds, dry=False)


@pytest.fixture(autouse=True)
def _time_of_the_stream(stream, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: stream.now)


def test_a_slow_host_does_not_count(stream):
    call = {"a": lambda: stream.launch(2e-6, host=50e-6)}
    result = stopwatch.compare(rig_of(stream), call, until=1e9)["a"]
    assert result.median == pytest.approx(2e-6) and result.p90 == pytest.approx(2e-6)
    assert result.extra["host"] == pytest.approx(50e-6) and result.extra["late"] == 0
    assert result.extra["calls"] == stopwatch.MOST_CALLS  # a round of 0.5 ms would take 250


def test_a_round_is_held_queued_and_then_waited_for(stream):
    stopwatch.compare(rig_of(stream, (1, 1)), {"a": lambda: stream.launch(1e-4)}, until=1e9)
    assert stream.log[-8:] == ["hold", "event", *["work"] * 5, "event"]  # 0.5 ms of work


def test_who_waits_for_the_host_is_marked(stream):
    def waits():
        stream.launch(1e-5)
        stream.now = max(stream.now, stream.free)

    results = stopwatch.compare(rig_of(stream), {"a": waits, "b": lambda: stream.launch(1e-5)}, until=1e9)
    assert results["a"].extra["late"] == 1 and results["b"].extra["late"] == 0


def test_a_host_that_became_slow_gets_a_longer_hold(stream):
    hosts = iter([1e-6] * 400 + [1e-4] * 10**6)
    result = stopwatch.compare(rig_of(stream), {"a": lambda: stream.launch(1e-5, next(hosts))}, until=1e9)["a"]
    assert (result.p10, result.p90) == pytest.approx((1e-5, 1e-5)) and 0 < result.extra["late"] < 0.2


def test_contestants_take_turns(stream):
    calls = {name: (lambda name=name: stream.launch(1e-3, name=name)) for name in "ab"}
    stopwatch.compare(rig_of(stream), calls, until=1e9)
    assert [name for name in stream.log if name in calls][-6:] == ["a", "b"] * 3


def test_rounds_end_with_the_time_but_not_before_the_least(stream):
    call = {"a": lambda: stream.launch(1e-3)}
    assert stopwatch.compare(rig_of(stream), call, until=0)["a"].rounds == 7
    assert stopwatch.compare(rig_of(stream), call, until=1e9)["a"].rounds == 25


def test_the_stand_in_never_says_that_it_measured():
    clock = rig.StandIn()
    start, end = clock.Event(), clock.Event()
    start.record()
    end.record()
    assert clock.get_elapsed_time(start, end) == 1 and not start.done


def test_cupy_has_what_the_rig_uses():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    assert {"record", "synchronize", "done"} <= set(dir(cupy.cuda.Event)) and callable(cupy.from_dlpack)
    runtime = cupy.cuda.runtime
    assert callable(cupy.cuda.MemoryPointer.copy_from_device_async) and callable(cupy.cuda.get_current_stream)
    assert all(isinstance(getattr(runtime, name), int) for name in probe.ATTRIBUTES.values())
    assert all(callable(getattr(runtime, name)) for name in ("deviceGetAttribute", "driverGetVersion"))


def test_a_hold_lasts_as_many_cycles_as_the_clock_makes(monkeypatch):
    launched = []
    runtime = SimpleNamespace(deviceGetAttribute=lambda which, device: 1_500_000 if which == 13 else 0)
    runtime.cudaDevAttrClockRate = 13

    def kernel(code, name):
        return lambda *launch: launched.append((name, *launch))

    xp = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), RawKernel=kernel)
    be = SimpleNamespace(xp=xp)
    monkeypatch.setattr(rig.backend, "get", lambda device: be)
    monkeypatch.setattr(rig, "KernelBackend", SimpleNamespace)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**FAKE_TORCH))
    made = rig.gpu()
    made.hold(2e-3)
    assert launched == [("hold", (1,), (1,), (3_000_000,))]  # 1.5 GHz for 2 ms
    made.allow_tf32(True)
    assert made.torch.backends.cudnn.allow_tf32 and made.torch.backends.cuda.matmul.allow_tf32
    assert made.torch.backends.cudnn.benchmark and not made.dry


FAKE_TORCH = {
    "cuda": SimpleNamespace(is_available=lambda: True),
    "backends": SimpleNamespace(cudnn=SimpleNamespace(), cuda=SimpleNamespace(matmul=SimpleNamespace())),
}


def test_the_kernel_that_holds_compiles():
    if reason := nvrtc.unavailable():
        missing("emulated", reason)
    source = kernels.parse("hold.cu", rig.HOLD)
    assert set(nvrtc.compile_source(source, {}, 90).usage) == {"hold"}
