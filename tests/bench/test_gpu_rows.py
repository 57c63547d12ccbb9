"""Which rows there are, what they are judged by, and what happens when somebody fails or is wrong."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict

import pytest

from bench import timing
from bench.gpu import measure, memory, products, table
from bench.gpu import rig as rigs
from bench.gpu.rows import (
    FEW_CHANNELS,
    FIRST_LAYER,
    MANY_CHANNELS,
    MEMORY,
    PRODUCT,
    SMALL_BATCH,
    Goal,
    Match,
    Row,
)
from bench.shapes import Conv
from bench.work import DIRECTIONS, Work
from gpunet import emulator
from gpunet.errors import FormatError
from tests.harness.backends import missing


@pytest.fixture
def rig(torch):
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())
    return rigs.dry()


def in_time(seconds=60):
    return time.perf_counter() + seconds


# What is promised.


@pytest.mark.parametrize(
    ("shape", "precision", "goal"),
    [
        (Conv(64, 1, 32, 28, 3), "fp32", FIRST_LAYER),
        (Conv(64, 4, 512, 28, 7), "bf16", FIRST_LAYER),
        (Conv(64, 32, 64, 26, 3), "tf32", FEW_CHANNELS),
        (Conv(64, 64, 64, 26, 3), "bf16", FEW_CHANNELS),
        (Conv(64, 64, 64, 26, 3), "fp32", None),
        (Conv(64, 64, 64, 26, 1), "tf32", None),
        (Conv(64, 64, 128, 26, 3), "tf32", None),
        (Conv(64, 128, 128, 26, 3), "fp32", MANY_CHANNELS),
        (Conv(64, 256, 128, 26, 1), "fp16", MANY_CHANNELS),
        (Conv(64, 144, 144, 26, 3, groups=144), "tf32", None),
        (Conv(64, 4, 4, 26, 3, groups=4), "tf32", None),
    ],
    ids=str,
)
def test_convolutions_are_judged_by_their_channels(shape, precision, goal):
    assert products._goal(shape, precision) == goal


def test_goals_are_those_that_were_set():
    goals = (FIRST_LAYER, FEW_CHANNELS, MANY_CHANNELS, PRODUCT, SMALL_BATCH)
    assert [(goal.floor, goal.aim) for goal in goals] == [(1.5, 2.0), (0.9, 1.2), (0.5, 0.63), (0.5, 0.63), (1.0, 1.5)]
    assert all(goal.measure == "speed-up" for goal in goals)
    assert (MEMORY.measure, MEMORY.floor, MEMORY.aim) == ("of copy", 0.8, 0.9)


def test_the_catalogue_holds_each_row_once_and_every_kind():
    rows = [*products.rows(), *memory.rows()]
    assert max(Counter(map(str, rows)).values()) == 1
    goals = Counter(row.goal for row in rows if row.family == "conv")
    assert {FIRST_LAYER, FEW_CHANNELS, MANY_CHANNELS, None} == set(goals)
    ops = {row.op for row in rows}
    assert {f"{op} {direction}" for op in ("conv2d", "gemm", "linear") for direction in DIRECTIONS} <= ops
    for op in ("relu", "batch_norm", "max_pool2d", "softmax", "cross_entropy", "dropout"):
        assert {f"{op} forward", f"{op} gradient"} <= ops
    assert {"add x + row", "sum of all", "SGD with momentum", "Adam", "norm of gradients", "clipping by norm"} <= ops
    assert {"copy to channels_last", "copy to contiguous"} <= ops
    assert {row.precision for row in rows if row.family != "memory"} == {"fp32", "tf32", "bf16", "fp16"}


def test_urgent_rows_come_first_and_the_rest_is_named_when_time_runs_out(rig):
    bench = measure.Bench(rig)
    bench.run(in_time(-1), lambda rows: rows, lambda: None)
    assert [result for result in bench.results if result.extra["family"] != "roof"] == []
    assert len(bench.left_out) == len(bench.rows) and all("no time was left" in line for line in bench.left_out)
    urgencies = [row.urgency for row in sorted(bench.rows, key=lambda row: row.urgency)]
    first = {str(row) for row in bench.rows if row.urgency == 0}
    assert {line.split(": ")[0] for line in bench.left_out[: len(first)]} == first and urgencies == sorted(urgencies)


def test_without_bfloat16_all_else_is_measured(rig, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    bench = measure.Bench(rig)
    bench.rows = [row for row in bench.rows if row.op in ("gemm forward", "Adam")]
    bench.run(in_time(), lambda rows: rows, lambda: None)
    ours = [result.extra["precision"] for result in bench.results if result.extra["contestant"] == "gpunet"]
    assert ours == ["fp32", "tf32", "fp16", "fp32"] and not bench.wrong
    assert bench.left_out == ["1 rows in bf16: ImportError: bfloat16 arrays need ml_dtypes"]


def test_results_come_in_the_order_of_the_catalogue(rig):
    bench = measure.Bench(rig)
    bench.rows = [row for row in bench.rows if row.op == "linear forward"]
    bench.run(in_time(), lambda rows: rows, lambda: None)
    ours = [result.extra["precision"] for result in bench.results if result.extra["contestant"] == "gpunet"]
    assert ours == ["fp32", "tf32", "bf16", "fp16"]
    assert [result.extra["family"] for result in bench.results][:6] == ["roof"] * 6
    kernels = bench.results[-3].extra["kernels"]
    assert kernels and all(count == 1 for count in kernels.values())


# Judging, with times and results that are made up.


AS_FAST = Goal("speed-up", 1.0, 2.0)


def made_up(rig, seconds, values=None, goal=AS_FAST, monkeypatch=None):
    """Return a bench after one row whose contestants take the given seconds and return the given values."""
    torch = rig.torch
    values = values or dict.fromkeys(seconds, 1.0)

    def call(name):
        def returns():
            if isinstance(values[name], Exception):
                raise values[name]
            return torch.tensor([values[name]])

        return returns

    def timed(rig, calls, until):
        return {name: timing.summarize(name, [seconds[name]], calls=1, host=1e-6, late=0.0) for name in calls}

    monkeypatch.setattr(measure, "compare", timed)
    calls = {name: call(name) for name in seconds}
    match = Match(calls, lambda: (torch.ones(1, dtype=torch.float64), 10.0))
    bench = measure.Bench(rig)
    bench.rows = [Row("gemm", "op", "case", "fp32", Work(2000, 100), goal, lambda rig: match)]
    bench.roof = measure.Roof(copy=1e3, product={"fp32": 1e4})
    bench._row(bench.rows[0], in_time())
    return bench


def verdict_of(bench):
    return next(result.extra for result in bench.results if result.extra["contestant"] == "gpunet")


@pytest.mark.parametrize(("ours", "reached", "verdict"), [(1.0, 2.0, "PASS"), (2.0, 1.0, "PASS"), (2.5, 0.8, "SHORT")])
def test_the_fastest_peer_counts(rig, monkeypatch, ours, reached, verdict):
    seconds = {"gpunet": ours, "torch contiguous": 3.0, "torch channels_last": 2.0}
    extra = verdict_of(made_up(rig, seconds, monkeypatch=monkeypatch))
    assert extra["best_peer"] == "torch channels_last" and extra["speed_up"] == pytest.approx(reached)
    assert extra["goal"]["reached"] == pytest.approx(reached) and extra["goal"]["verdict"] == verdict


def test_the_roofline_is_the_slower_of_memory_and_products(rig, monkeypatch):
    extra = verdict_of(made_up(rig, {"gpunet": 0.5, "torch": 1.0}, goal=MEMORY, monkeypatch=monkeypatch))
    assert extra["of_copy"] == pytest.approx(100 / 0.5 / 1e3) == extra["goal"]["reached"]
    assert extra["of_roof"] == pytest.approx(2000 / 1e4 / 0.5)
    assert extra["goal"]["verdict"] == "SHORT" and extra["gflop_per_s"] == pytest.approx(4e-6)


@pytest.mark.parametrize("value", [1.1, float("nan"), float("inf")])
def test_a_wrong_result_is_found(rig, monkeypatch, value):
    bench = made_up(rig, {"gpunet": 1.0, "torch": 1.0}, {"gpunet": value, "torch": 1.0}, monkeypatch=monkeypatch)
    assert len(bench.wrong) == 1 and "at most 1e-06 is right" in bench.wrong[0]
    json.dumps([result.extra for result in bench.results], allow_nan=False)


def test_errors_are_relative_to_the_sum_of_absolute_products(rig, monkeypatch):
    bench = made_up(rig, {"gpunet": 1.0, "torch": 1.0}, {"gpunet": 1.0, "torch": 1.5}, monkeypatch=monkeypatch)
    assert [result.extra["error"] for result in bench.results] == [0.0, 0.05] and not bench.wrong


def test_a_peer_that_fails_is_left_out(rig, monkeypatch):
    values = {"gpunet": 1.0, "torch": 1.0, "cupy": RuntimeError("no cuBLAS\nmore")}
    bench = made_up(rig, {"gpunet": 1.0, "torch": 1.0, "cupy": 1.0}, values, monkeypatch=monkeypatch)
    assert bench.left_out == ["op, case, fp32, cupy: RuntimeError: no cuBLAS"] and not bench.wrong
    assert len(bench.results) == 2


@pytest.mark.parametrize(("error", "wrong"), [(RuntimeError("x"), 1), (MemoryError("x"), 0), (ImportError("x"), 0)])
def test_gpunet_failing_is_wrong_unless_something_is_missing(rig, monkeypatch, error, wrong):
    bench = made_up(rig, {"gpunet": 1.0, "torch": 1.0}, {"gpunet": error, "torch": 1.0}, monkeypatch=monkeypatch)
    assert len(bench.wrong) == wrong and len(bench.left_out) == 1


def test_without_a_peer_there_is_no_verdict(rig, monkeypatch):
    goal = verdict_of(made_up(rig, {"gpunet": 1.0}, monkeypatch=monkeypatch))["goal"]
    assert (goal["reached"], goal["verdict"]) == (None, "not measured")


def test_a_device_that_fails_ends_the_measuring(rig, monkeypatch):
    bench = measure.Bench(rig)
    monkeypatch.setattr(type(rig.be), "synchronize", lambda be: 1 / 0)
    bench.run(in_time(), lambda rows: rows, lambda: None)
    assert bench.wrong == ["the device failed: division by zero"]
    assert len(bench.left_out) == len(bench.rows) - 1 and "the device failed before" in bench.left_out[0]


# The table.


def content(bench, **more):
    head = {"schema": 1, "benchmark": "gpu", "date": "2026-01-02T03", "commit": "0123456789ab", "dry_run": False}
    head |= {"complete": True, "gpu": {"name": "A GPU"}, "left_out": [], "wrong": []}
    return {**head, "results": [asdict(result) for result in bench.results], **more}


def test_the_table_shows_goal_and_verdict(rig, monkeypatch):
    bench = made_up(rig, {"gpunet": 2.5, "torch": 2.0}, monkeypatch=monkeypatch)
    lines = table.table(content(bench, left_out=["x: no time was left"])).splitlines()
    assert lines[0] == "A GPU; 2026-01-02, commit 0123456789" and "matrix products" in lines
    row = next(line for line in lines if line.startswith("  op"))
    expected = "op case fp32 2.50 s 2.50 s 2.50 s 2.00 s 0.80 8.00e-10 TF/s 8% 0.0e+00 1.0 2.0 0.80 SHORT"
    assert " ".join(row.split()) == expected
    assert "goals: 0 of 1 rows reach the floor, 0 the aim, 1 are short" in lines
    assert lines[-2:] == ["left out:", "  x: no time was left"]


def test_the_table_says_when_it_is_no_measurement_or_not_complete(rig, monkeypatch):
    bench = made_up(rig, {"gpunet": 2.5, "torch": 2.0}, monkeypatch=monkeypatch)
    text = table.table(content(bench, dry_run=True, complete=False))
    assert text.startswith("DRY RUN") and "NOT COMPLETE" in text


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1, "benchmark": "conv"}', '{"schema": 1, "benchmark": "gpu"}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"other.json: no result file of `python -m bench.gpu`"):
        table.read(path)
