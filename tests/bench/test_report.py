"""Result files, the table, and the plot, from made-up times."""

from __future__ import annotations

import json
import struct

import pytest

from bench import plot, report, timing
from gpunet.errors import FormatError

WHERE = {"date": "2026-01-02T03:04:05+00:00", "commit": "0123456789abcdef", "machine": {}, "versions": {}}


def extra(op="relu", case="N2", backend="numpy", **others):
    device = {"numpy": "A CPU", "cupy": "A GPU"}.get(backend, backend)
    rates = {"flops": 10**9, "bytes": 10**9, "gflop_per_s": 1.0, "gb_per_s": 1.0, "elsewhere": 0.0}
    named = {"op": op, "case": case, "backend": backend, "device": device}
    return {**named, "threads": 2 if backend == "numpy" else None, **rates, **others}


def suite(*results, name="activation", where=WHERE):
    return report.Suite(name, where, [timing.summarize("", seconds, **fields) for seconds, fields in results])


def measured(*extras, timer="perf_counter"):
    """Return what pytest-benchmark writes."""
    stats = {"data": [0.2, 0.1, 0.3], "iterations": 4}
    benchmarks = [{"name": "b", "extra_info": e, "options": {"timer": timer}, "stats": stats} for e in extras]
    return {"benchmarks": benchmarks, "environment": WHERE}


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_measurements_become_suites_without_the_emulator(tmp_path):
    extras = [
        extra(suite="activation"),
        extra(suite="pool", op="max_pool2d"),
        extra(suite="pool", backend="emulated"),
    ]
    first, second = report.read(write(tmp_path / "m.json", measured(*extras)))
    assert (first.name, second.name, len(second.results)) == ("activation", "pool", 1)
    result = first.results[0]
    assert (result.median, result.min, result.rounds, result.extra["iterations"]) == (0.2, 0.1, 3, 4)
    assert first.where == WHERE


def test_a_gpu_timed_without_events_is_refused(tmp_path):
    extras = extra(suite="activation", backend="cupy")
    assert report.read(write(tmp_path / "m.json", measured(extras, timer="cuda_events")))
    with pytest.raises(FormatError, match="not timed with its own events"):
        report.read(write(tmp_path / "m.json", measured(extras)))


def test_a_result_file_is_read_back(tmp_path):
    before = suite(([0.5, 0.6], extra()))
    timing.save(tmp_path / "r.json", before.name, before.results, before.where)
    assert report.read(tmp_path / "r.json") == [before]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "neither a result file nor"),
        ("[1]", "neither a result file nor"),
        ('{"schema": 99}', "schema 99, but this reads schema 1"),
        ('{"schema": 1, "date": "", "commit": ""}', "neither a result file nor .*KeyError: 'machine'"),
        ('{"benchmarks": [{"extra_info": {}}]}', "neither a result file nor"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content, problem):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=f"other.json: {problem}"):
        report.read(path)


def test_results_of_other_benchmarks_are_refused(tmp_path):
    timing.save(tmp_path / "r.json", "conv_cpu", [timing.summarize("forward", [1.0])], WHERE)
    with pytest.raises(FormatError, match="not from `pytest bench`, which notes backend, bytes, case, device"):
        report.read(tmp_path / "r.json")


@pytest.mark.parametrize("wrong", [{"backend": "torch"}, {"device": None}])
def test_results_without_what_the_table_shows_are_refused(tmp_path, wrong):
    noted = {key: value for key, value in {**extra(), **wrong}.items() if value is not None}
    timing.save(tmp_path / "r.json", "conv", [timing.summarize("forward", [1.0], **noted)], WHERE)
    with pytest.raises(FormatError, match=r"r.json: its results are not from `pytest bench`"):
        report.read(tmp_path / "r.json")


def test_the_table_sets_cpu_beside_gpu():
    cpu = suite(([0.2], extra()), ([0.3], extra(case="N4")), ([0.004], extra(op="tanh")))
    gpu = suite(([0.01], extra(backend="cupy", gflop_per_s=123.4)), ([0.1], extra(op="tanh", backend="cupy")))
    assert report.table([cpu, gpu]).splitlines() == [
        "CPU: A CPU, 2 threads; 2026-01-02, commit 0123456789",
        "GPU: A GPU; 2026-01-02, commit 0123456789",
        "",
        "              CPU                                         GPU",
        "           median        p90    GFLOP/s       GB/s     median        p90    GFLOP/s       GB/s   CPU/GPU",
        "relu",
        "  N2       200 ms     200 ms       1.00       1.00    10.0 ms    10.0 ms        123       1.00     20.0x",
        "  N4       300 ms     300 ms       1.00       1.00          -          -          -          -",
        "tanh",
        "  N2      4.00 ms    4.00 ms       1.00       1.00     100 ms     100 ms       1.00       1.00   0.0400x",
    ]


def test_a_missing_gpu_is_said_and_takes_no_columns():
    text = report.table([suite(([0.2], extra()))])
    assert "GPU: not yet measured" in text and "CPU/GPU" not in text
    assert report.table([]).splitlines()[:2] == ["CPU: not yet measured", "GPU: not yet measured"]


def test_changed_files_show_in_the_table():
    where = {**WHERE, "commit": "0123456789abcdef+changes"}
    assert "commit 0123456789+changes" in report.table([suite(([0.2], extra()), where=where)])


def test_disturbed_measurements_are_marked():
    calm, busy = ([0.2], extra(elsewhere=0.05)), ([0.3], extra(case="N4", elsewhere=0.2))
    lines = report.table([suite(calm, busy)]).splitlines()
    assert [line.split()[1] for line in lines[6:8]] == ["200", "!"]
    assert lines[-1].startswith("! others used more than 10% of the CPUs")
    assert "!" not in report.table([suite(calm, ([0.3], extra(case="N4", elsewhere=None)))])


def test_cases_of_an_op_stay_together():
    cpu = suite(([0.2], extra()), ([0.2], extra(op="tanh")))
    more = suite(([0.2], extra(backend="cupy", case="N4")))
    assert [(row.op, row.case) for row in report.rows([cpu, more])] == [("relu", "N2"), ("relu", "N4"), ("tanh", "N2")]


def test_two_results_for_one_place_are_refused():
    with pytest.raises(ValueError, match="relu, N2 was measured twice on a CPU"):
        report.table([suite(([0.2], extra())), suite(([0.3], extra()))])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.5, "12.5 s"), (0.9996, "1000 ms"), (0.0999, "99.9 ms"), (0.00123456, "1.23 ms"), (2.5e-7, "0.250 us")],
)
def test_durations_have_three_digits(seconds, text):
    assert report.duration(seconds) == text


def size(path):
    """Return width and height of a PNG file."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_the_plot_grows_with_what_it_shows(tmp_path):
    one = suite(([0.2, 0.3], extra()))
    both = suite(([0.2, 0.3], extra()), ([0.01], extra(backend="cupy")))
    many = suite(*[([0.2], extra(op=op, case=case)) for op in ("relu", "tanh", "elu") for case in ("N2", "N4")])
    sizes = []
    for number, drawn in enumerate((one, both, many)):
        plot.save([drawn], tmp_path / f"{number}.png")
        sizes.append(size(tmp_path / f"{number}.png"))
    assert sizes[0][0] == sizes[1][0] < sizes[2][0]
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        plot.save([], tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_columns_are_about_equally_tall():
    row = report.Row("", "", {"CPU": None})
    panels = [[row] * 8, [row] * 2, [row] * 2, [row] * 3]
    assert plot._columns(panels) == [panels[:1], panels[1:]]
    assert plot._columns(panels[:1]) == [panels[:1]]
