"""`gpunet tune`: which candidates race, who wins, what is written; on the emulator, with a clock that pretends."""

from __future__ import annotations

import argparse
import types

import numpy as np
import pytest

from gpunet import backend, emulator, ops
from gpunet.backend import Device, cupy
from gpunet.cli import tune
from gpunet.cli.main import main
from gpunet.cli.tune import timing
from gpunet.cli.tune.layers import MODELS, read_conv, read_linear
from gpunet.cli.tune.rows import conditions, merged
from gpunet.cli.tune.timing import Lane, candidates, decide
from gpunet.errors import KernelError
from gpunet.ops import choices, conv_tiled, tiles
from gpunet.ops.choices import Choice
from gpunet.ops.choices_table import make_row, parse, read
from gpunet.ops.tiles import FMA_TILES, MMA_TILES
from tests.harness.backends import missing

LARGE, HIGH, SMALL, NARROW = MMA_TILES
LINEAR = "batch=5,in=264,out=16"


@pytest.fixture
def be():
    if reason := emulator.unavailable():
        missing("emulated", reason)
    return backend.get(Device("emulated"))


def products_of(be, layer, dtype="tf32"):
    return list(layer.products(be, dtype))


@pytest.fixture
def pretend(monkeypatch, be):
    """Return what makes one kind of kernels fast: seconds per call by name, a millisecond for all others."""

    def use(**seconds):
        def clock(call, calls):
            call()
            return seconds.get(choices._forced.get().kernel, 1e-3)

        monkeypatch.setattr(tune, "clock_of", lambda be: clock)

    return use


def gpunet_tune(*arguments):
    return main(["tune", "--device", "emulated", "--quiet", "--quick", *map(str, arguments)])


@pytest.mark.parametrize("name", MODELS)
def test_typical_layers_can_be_read(name):
    assert MODELS[name] and all(layer.given["batch"] > 0 for layer in MODELS[name])


def test_a_layer_is_read_with_its_defaults():
    layer = read_conv("batch=2,in=4,out=6,size=9x7,kernel=3,groups=2")
    assert layer.text == "conv batch=2,in=4,out=6,size=9x7,kernel=3,groups=2"
    assert layer.given == {
        **{"batch": 2, "in": 4, "out": 6, "size": (9, 7), "kernel": (3, 3)},
        **{"stride": 1, "padding": 0, "dilation": 1, "groups": 2},
    }


@pytest.mark.parametrize(
    ("read_layer", "text", "message"),
    [
        (read_linear, "batch=2,in=3", "'batch=2,in=3' lacks out"),
        (read_linear, "batch=2,in=3,out=x", "out in .* is 'x'; expected an integer >= 1"),
        (read_linear, "batch=0,in=3,out=4", "batch in .* is '0'; expected an integer >= 1"),
        (read_linear, "batch=2,in=3,out=4,size=3", "there is no 'size' in .*; expected batch, in, out"),
        (read_linear, "", "there is no ''"),
        (read_conv, "batch=2,in=3,out=4,size=3x0,kernel=1", "size in .* is '3x0'; expected 28 or 28x32"),
        (read_conv, "batch=2,in=3,out=4,size=3x3x3,kernel=1", "expected 28 or 28x32"),
        (read_conv, "batch=2,in=3,out=4,size=3,kernel=1,padding=-1", "padding in .* expected an integer >= 0"),
        (read_conv, "batch=2,in=3,out=4,size=3,kernel=1,stride=2x2", "stride in .* expected an integer >= 1"),
        (read_conv, "batch=2,in=3,out=4,size=3,kernel=1,groups=2", "in and out of .* are no multiples of its groups"),
        (
            read_conv,
            "batch=2,in=3,out=4,size=3,kernel=2,dilation=3",
            "the kernel of .* is larger than its padded images",
        ),
    ],
)
def test_a_layer_that_cannot_be_is_an_error(read_layer, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read_layer(text)


@pytest.mark.parametrize(
    "layer",
    [read_linear(LINEAR), read_conv("batch=2,in=8,out=12,size=6x5,kernel=3x2,stride=2,padding=1,groups=1")],
    ids=["linear", "conv"],
)
@pytest.mark.parametrize("dtype", ["tf32", "half", "float32", "float64"])
def test_products_ask_for_what_they_say_and_candidates_launch_what_they_say(be, monkeypatch, layer, dtype):
    """In all dtypes, every candidate makes the plain kernel's bits."""
    for product in products_of(be, layer, dtype):
        asked = []
        with monkeypatch.context() as patch:
            patch.setattr(choices, "choose", lambda be, problem, asked=asked: asked.append(problem) or Choice("plain"))
            product.call()
        assert asked == [product.problem] and product.problem.dtype == dtype
        lanes = [Lane(choice) for choice in candidates(product.problem, quick=False)]
        assert {lane.choice.kernel for lane in lanes} == set(product.problem.kernels) - {"halo"}
        list(timing.race(be, product, lanes, timing.clock_of(be), rounds=3))
        assert [(lane.fault, len(lane.seconds)) for lane in lanes] == [("", 3)] * len(lanes)


def test_candidates_begin_with_the_shipped_choice_and_come_once(be):
    forward, *_ = products_of(be, read_linear("batch=64,in=2304,out=128"))
    found = candidates(forward.problem, quick=False)
    assert found[0] == Choice("tensor", SMALL, 132) == choices.shipped().choose(forward.problem)
    assert Choice("plain") in found and {choice.tile for choice in found} == {*MMA_TILES, *FMA_TILES}
    assert [choice.blocks for choice in found if choice.tile == HIGH] == [
        1,
        66,
    ]  # 18 splits, and not less than 4 slices
    launched = [timing._launched(forward.problem, choice, np.dtype("f4")) for choice in found]
    assert len(set(launched)) == len(launched)
    quick = candidates(forward.problem, quick=True)
    assert quick[0] == found[0] and len(quick) < len(found)
    narrow, *_ = products_of(be, read_linear("batch=64,in=16,out=31"), "half")
    assert narrow.problem.takes(Choice("tensor", HIGH))
    assert {choice.tile for choice in candidates(narrow.problem, quick=False)} - {LARGE} == {NARROW}


def test_candidates_are_of_all_families(be):
    def kernels(layer):
        products = products_of(be, read_conv(layer))
        return [list(dict.fromkeys(c.kernel for c in candidates(p.problem, quick=False))) for p in products]

    few = "direct halo tensor fma plain", "halo tensor fma plain", "direct tensor fma plain"
    assert kernels("batch=1,in=4,out=8,size=5,kernel=3") == [names.split() for names in few]
    assert kernels("batch=1,in=8,out=8,size=5,kernel=3,groups=8") == [["depthwise", "plain"]] * 3


def lanes_of(*seconds, faults=()):
    lanes = [Lane(Choice("plain"), list(of_lane)) for of_lane in seconds]
    for number in faults:
        lanes[number].fault, lanes[number].seconds = "WRONG", []
    return lanes


def test_the_shipped_choice_stays_unless_another_is_faster_by_more_than_the_noise():
    def chosen(*seconds, faults=()):
        lanes = lanes_of(*seconds, faults=faults)
        verdict = decide(lanes)
        return None if verdict.lane is None else lanes.index(verdict.lane)

    assert chosen([1.0] * 5) == 0
    assert chosen([1.0] * 5, [0.98] * 5) == 0  # less than 3 %
    assert chosen([1.0] * 5, [0.96] * 5) == 1
    assert chosen([1.0] * 5, [0.96] * 5, [0.9] * 5) == 2
    assert chosen([1.0, 1.2, 1.4, 1.0, 1.2], [1.0, 1.1, 1.0, 1.1, 1.0]) == 0  # 1.2 x, but within 0.9 to 1.4
    assert chosen([1.0, 2.0, 3.0], [0.9, 1.8, 2.7]) == 1  # in each round, whatever happened between them
    assert chosen([1.0] * 3, [0.5] * 3, [0.9] * 3, faults=[1]) == 2
    assert chosen([1.0] * 3, [2.0] * 3, faults=[0]) == 1
    assert chosen([1.0] * 3, [2.0] * 3, faults=[1]) == 0
    assert chosen([1.0] * 3, [2.0] * 3, faults=[0, 1]) is None


def test_rows_count_for_the_product_and_batches_up_to_a_power_of_two(be):
    for batch, least, most in ((1, 1, 1), (2, 2, 2), (3, 3, 4), (5, 5, 8), (8, 5, 8)):
        for number, product in enumerate(products_of(be, read_linear(f"batch={batch},in=8,out=12"))):
            key = ("rows", "rows", "depth")[number]
            written = conditions(product)
            assert written[key] == f"{least}..{most}"
            row = make_row("gemm", {**written, "kernel": "plain"})
            for other_batch in range(1, 18):
                other = products_of(be, read_linear(f"batch={other_batch},in=8,out=12"))[number]
                assert row.fits(other.problem) == (least <= other_batch <= most)
            wider = products_of(be, read_linear(f"batch={batch},in=8,out=16"))[number]
            assert not row.fits(wider.problem) and not row.fits(
                products_of(be, read_linear("batch=1,in=12,out=8"))[0].problem
            )


def test_new_rows_go_before_old_ones_and_replace_those_of_equal_conditions():
    before = parse(
        'gemm = [{ rows = 1, kernel = "plain" }, { rows = 2, kernel = "plain" }]\n'
        'conv_forward = [{ rows = 1, kernel = "plain" }]',
        "before",
    )
    tile = {"kernel": "tensor", "tile": "64x64x128"}
    new = [make_row("gemm", {"rows": rows, **tile}) for rows in (2, 3)]
    after = merged([("gemm", {"rows": 2}, new[0]), ("gemm", {"rows": 3}, new[1])], before)
    assert after == {"gemm": (*new, before["gemm"][0]), "conv_forward": before["conv_forward"]}
    assert merged([("conv_forward", {"rows": 1}, None)], before) == {"gemm": before["gemm"]}
    assert merged([("conv_forward", {"rows": 9}, None)], before) == before
    assert merged([("gemm", {"rows": 2}, new[0])], {}) == {"gemm": (new[0],)}


def test_what_is_faster_is_written_and_chosen_from_then_on(be, pretend, tmp_path, monkeypatch, capsys):
    pretend(plain=0.5e-3)
    path = tmp_path / "mine.toml"
    assert gpunet_tune("--linear", LINEAR, "--out", path) == 0
    out = capsys.readouterr().out
    assert out.startswith("on the emulator, times mean nothing") and out.endswith(f"written: {path}\n")
    assert "gemm nt 5 x 16, depth 264, tf32: linear batch=5,in=264,out=16\n" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["plain", "500.0", "us", "100%", "chosen:", "2.00", "x", "as", "fast,", "noise", "0.03"] in lines
    assert ["tensor", "128x32x64", "132", "1000.0", "us", "50%", "shipped"] in lines
    text = path.read_text()
    assert "# Measured on the emulator: these times mean nothing." in text and "# 500.0 us, was 1000.0\n" in text
    rows = read(path)
    assert rows.keys() == {"gemm"} and len(rows["gemm"]) == 3
    monkeypatch.setattr(choices, "_tables", {})
    monkeypatch.setenv("GPUNET_CHOICES", str(path))
    be.launched.clear()
    x, w = (be.from_numpy(np.ones(shape, np.float32)) for shape in ((5, 264), (16, 264)))
    ops.linear(x, w, allow_tf32=True)
    assert dict(be.launched) == {"gemm": 1}


def test_tuning_again_replaces_its_own_rows_and_keeps_others(be, pretend, tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('gemm = [{ rows = 77, kernel = "plain" }]')
    pretend(plain=0.5e-3)
    assert gpunet_tune("--linear", LINEAR, "--out", path) == 0
    assert len(read(path)["gemm"]) == 4
    written = path.read_bytes()
    assert gpunet_tune("--linear", LINEAR, "--out", path) == 0
    assert "the choices stay as they were: there is nothing to write" in capsys.readouterr().out
    assert path.read_bytes() == written
    pretend(plain=2e-3)
    assert gpunet_tune("--linear", LINEAR, "--out", path) == 0
    assert [row.conditions for row in read(path)["gemm"]] == [{"rows": 77}]


def test_a_product_races_once(be, pretend, tmp_path, capsys):
    pretend()
    layers = ("batch=5,in=8,out=4", "batch=8,in=8,out=4", "batch=9,in=8,out=4")
    assert gpunet_tune(*(word for layer in layers for word in ("--linear", layer))) == 0
    assert capsys.readouterr().out.count("gemm nt ") == 2  # batches of 5 and 8 share a row


def test_a_bar_shows_how_far_it_is(be, pretend, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    pretend()
    assert main(["tune", "--device", "emulated", "--quick", "--linear", LINEAR, "--dtype", "half,tf32"]) == 0
    shown = capsys.readouterr().err
    assert f"linear {LINEAR} half gemm " in shown and " 50%|" in shown and f"linear {LINEAR} tf32 gemm 100%|" in shown


def test_a_dry_run_and_the_emulator_without_out_write_nothing(be, pretend, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GPUNET_CHOICES", str(tmp_path / "mine.toml"))
    pretend(plain=0.5e-3)
    assert gpunet_tune("--dry-run", "--out", tmp_path / "no" / "such.toml") == 0
    out = capsys.readouterr().out
    before, _, text = out.partition(f"would be written to {tmp_path / 'no' / 'such.toml'}:\n\n")
    assert "conv_weight_gradient" in before and parse(text, "shown").keys() >= {"gemm", "conv_forward"}
    assert gpunet_tune("--linear", LINEAR) == 0
    assert capsys.readouterr().out.endswith("nothing is written without --out\n")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_kernel_never_wins_and_is_exit_code_1(be, pretend, tmp_path, monkeypatch, capsys):
    sum_splits = tiles.sum_splits

    def wrong(be, out, *rest):
        sum_splits(be, out, *rest)
        be.fill(out[0, :1], 3)

    monkeypatch.setattr(tiles, "sum_splits", wrong)
    pretend(tensor=1e-6)
    assert gpunet_tune("--linear", LINEAR, "--out", tmp_path / "mine.toml") == 1
    shown = capsys.readouterr()
    assert "WRONG: 16 of 80 elements differ from the plain kernel's, shipped" in shown.out
    assert "gpunet: wrong results on emulated: 2; none of these kernels is chosen" in shown.err
    (row,) = read(tmp_path / "mine.toml")["gemm"]
    assert row.choice == Choice("tensor", NARROW, 1) and row.conditions["order"] == "nt"  # the one without splits


def test_elements_that_are_not_written_are_wrong(be, monkeypatch):
    product, *_ = products_of(be, read_conv("batch=1,in=8,out=12,size=5,kernel=2"))
    monkeypatch.setattr(conv_tiled.Tiled, "forward", lambda *args: None)
    lanes = [Lane(Choice("tensor", NARROW)), Lane(Choice("plain"))]
    list(timing.race(be, product, lanes, timing.clock_of(be), rounds=1))
    assert lanes[0].fault == "WRONG: 192 of 192 elements differ from the plain kernel's" and not lanes[0].seconds
    assert not lanes[1].fault and len(lanes[1].seconds) == 1


def test_a_kernel_that_fails_never_wins(be, pretend, monkeypatch, capsys):
    def fail(*args):
        raise KernelError("out of registers\nand more")

    monkeypatch.setattr(conv_tiled.Tiled, "forward", fail)
    pretend(tensor=1e-6)
    assert gpunet_tune("--conv", "batch=1,in=8,out=12,size=5,kernel=2") == 0
    assert "failed: out of registers\n" in capsys.readouterr().out


def test_an_interrupt_or_an_error_writes_nothing(be, pretend, tmp_path, monkeypatch, capsys):
    pretend(plain=0.5e-3)
    path = tmp_path / "mine.toml"
    for error, code in ((KeyboardInterrupt(), 130), (OSError("disk full"), 1)):
        steps = iter([None, error])

        def table(*args, steps=steps):
            if fault := next(steps):
                raise fault
            return ()

        with monkeypatch.context() as patch:
            patch.setattr(tune, "_table", table)
            assert gpunet_tune("--linear", LINEAR, "--out", path) == code
        assert list(tmp_path.iterdir()) == []
    path.write_text("gemm = [{ rows = 3 }]")
    assert gpunet_tune("--linear", LINEAR, "--out", path) == 1
    assert "mine.toml: gemm, row 1: the kernel is missing." in capsys.readouterr().err
    assert path.read_text() == "gemm = [{ rows = 3 }]"
    assert gpunet_tune("--linear", LINEAR, "--out", tmp_path / "no" / "mine.toml") == 1
    assert f"there is no folder {tmp_path / 'no'} for mine.toml" in capsys.readouterr().err


def test_where_a_gpus_table_is_written(be, tmp_path, monkeypatch):
    gpu = types.SimpleNamespace(name="cupy", gpu="Fake GPU 1")
    options = types.SimpleNamespace(out=None, dry_run=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="GPUNET_CHOICES is empty, or no home\n  hint: give --out"):
        tune._target(gpu, options)
    monkeypatch.delenv("GPUNET_CHOICES")
    assert tune._target(gpu, options) == tmp_path / "gpunet" / "choices" / "fake-gpu-1.toml"
    assert (tmp_path / "gpunet" / "choices").is_dir()
    monkeypatch.setenv("GPUNET_CHOICES", str(tmp_path / "named.toml"))
    assert tune._target(gpu, options) == tmp_path / "named.toml"
    options.out = tmp_path / "out.toml"
    assert tune._target(gpu, options) == options.out


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(cupy, "unavailable", lambda: "CuPy is not installed")
    backend.get.cache_clear()
    assert main(["tune"]) == 1
    message = capsys.readouterr().err
    assert (
        message.startswith("gpunet: DeviceError: cuda:0: CuPy is not installed.\n") and "hint: pip install" in message
    )
    assert main(["tune", "--device", "cpu"]) == 1
    assert "tune: cpu runs no kernels.\n  expected cuda or emulated" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--dtype", "int8"], ["--model", "gpt"], ["--linear", "batch=1"]])
def test_wrong_usage_is_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        gpunet_tune(*arguments)
    assert stop.value.code == 2 and "usage: gpunet tune" in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["tune", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("examples:", "--dry-run", "3%", "exit codes:", "$GPUNET_CHOICES", "last\nbits"):
        assert word in text


class FakeCuda:
    """A stream with a host that takes a millisecond to queue a call and a device that takes two, besides being held."""

    def __init__(self):
        self.host = self.free = 0.0
        self.holds = []

    def launch(self, seconds, host=0.0):
        self.host += host
        self.free = max(self.free, self.host) + seconds

    def backend(self):
        fake = self

        class Event:
            def record(self):
                self.at = max(fake.free, fake.host)

            def synchronize(self):
                fake.host = max(fake.host, self.at)

            @property
            def done(self):
                return fake.host >= self.at

        def spin(grid, block, args):
            fake.holds.append(float(args[0]) / 2e9)
            fake.launch(fake.holds[-1])

        device = types.SimpleNamespace(attributes={"ClockRate": 2_000_000})
        cuda = types.SimpleNamespace(
            Event=Event, Device=lambda index: device, get_elapsed_time=lambda a, b: (b.at - a.at) * 1000
        )
        xp = types.SimpleNamespace(cuda=cuda, RawKernel=lambda text, name: spin)
        return types.SimpleNamespace(
            name="cupy", xp=xp, device=Device("cuda", 1), current=backend.get(Device("cpu")).current
        )


def test_the_gpus_clock_measures_the_gpu_and_not_the_host():
    """While the device waits for the host, what passes between two events is the host's time: it is held for longer."""
    fake = FakeCuda()
    clock = timing.clock_of(fake.backend())
    assert clock(lambda: fake.launch(0.2e-3, host=1e-3), 5) == pytest.approx(0.2e-3)
    assert fake.holds == pytest.approx([1e-3, 2e-3, 4e-3, 8e-3])
