"""Ratios are to PyTorch, losses must agree, and the page says where gpunet loses: all from numbers made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers_cpu import page, plot, results, rounds, scaling, table
from gpunet.errors import FormatError
from gpunet.io import write_json
from tests.bench.peers import W1, W2, W5, content, entry, measured

ROOT = Path(__file__).resolve().parents[2]


def test_ratios_are_of_medians_to_pytorch_in_the_same_workload():
    group = [measured("gpunet", 1, 2, 9), measured("PyTorch", 4, 3, 5), measured("gpunet", 7, workload=W2)]
    ours, theirs, alone = results.results(group, threads=2)
    assert (ours.name, ours.median, ours.extra["ratio"]) == ("W1 gpunet", 0.002, 0.5)
    assert (theirs.extra["ratio"], alone.extra["ratio"]) == (1.0, None)
    assert (ours.extra["turns"], ours.extra["contended"], ours.extra["threads"]) == (4, 1, 2)


def test_the_faster_of_pytorchs_loaders_is_the_baseline():
    epochs = {"workload": W5, "epochs": [{"loss": 1.0, "accuracy": 0.5, "images": 600}]}
    names = {"gpunet": 20, "PyTorch": 50, "PyTorch 2 workers": 40, "PyTorch whole batches": 30}
    found = results.results([measured(name, time, **epochs) for name, time in names.items()], threads=2)
    assert [result.extra["ratio"] for result in found] == [0.5, 1.25, 1.0, 0.75]
    assert table.cells(found[0])[4] == "30,000"


def test_losses_must_agree_to_three_digits():
    close = measured("gpunet", 1, losses=(2.0015, 1.5)), measured("PyTorch", 1)
    assert results.disagreements(close) == []
    apart = measured("gpunet", 1, losses=(2.0, 1.503)), measured("JAX", 1), measured("PyTorch", 1)
    assert results.disagreements(apart) == [(apart[0], "its first losses are 2, 1.503, those of PyTorch 2, 1.5")]
    others = measured("gpunet", 1), measured("PyTorch", 1, workload=W2, losses=(9.0, 9.0))
    assert results.disagreements(others) == []
    assert results.disagreements([measured("gpunet", 1), measured("JAX", 1, losses=(float("nan"), 1.5))])


def test_where_gpunet_loses_is_told_from_the_numbers():
    ours = measured("gpunet", 4, rss=100, start=0.4)
    peers = [measured("JAX", 2, rss=400, start=0.5), measured("PyTorch", 3, rss=50, start=0.5), measured("DeZero", 5)]
    assert results.losing(results.results([*peers, ours], threads=2)) == [
        "W1, time of a step: gpunet 1 (4 ms), JAX 0.50 (2 ms), PyTorch 0.75 (3 ms)",
        "W1, start: import, build, first step: gpunet 1 (400 ms), DeZero 0.88 (350 ms)",
        "W1, peak memory: gpunet 1 (100 MB), PyTorch 0.50 (50 MB)",
    ]
    assert results.losing(results.results([measured("gpunet", 1), measured("PyTorch", 2)], threads=2)) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2e-5, "42 us"), (9.996e-4, "1 ms"), (0.0123, "12.3 ms"), (0.9997, "1 s"), (12.34, "12.3 s"), (123.4, "123 s")],
)
def test_durations_have_three_digits(seconds, text):
    assert results.duration(seconds) == text


def test_the_table_has_the_fastest_first_and_names_the_cpu():
    text = table.table(content(measured("PyTorch", 3), measured("gpunet", 1), left_out={"JAX": "not installed"}))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    ours = lines.index("gpunet 1 ms 1 ms 0.33 128,000 3 of 4 200 ms 100 ms 50 ms 100 MB")
    assert lines[0].startswith("a CPU, 2 threads") and lines[ours + 1].startswith("PyTorch 3 ms")
    assert "JAX: not installed" in text and "SMOKE" not in text


def test_the_page_names_the_cpu_beside_ratios_and_where_gpunet_loses(tmp_path):
    write_json(tmp_path / "cpu.json", content(measured("PyTorch", 3), measured("gpunet", 4)))
    text = page.page(tmp_path)
    assert "| contestant | median | p10 | / PyTorch on a CPU |" in text and "| gpunet | 4 ms | 4 ms | 1.33 |" in text
    assert "### Where gpunet loses on a CPU\n\n- W1, time of a step: gpunet 1 (4 ms), PyTorch 0.75 (3 ms)\n" in text
    assert "commit c0ffee; numpy 2.4." in text and "Batches and threads" not in text
    write_json(tmp_path / "cpu_avx2.json", content(measured("PyTorch", 3), measured("gpunet", 2), leg="avx2"))
    assert "as on a CPU without AVX-512" in page.page(tmp_path) and "Nowhere, in this run." in page.page(tmp_path)


def test_the_page_in_docs_is_what_the_results_say():
    folder = ROOT / "bench" / "results" / "peers"
    if not (folder / "cpu.json").exists():
        assert not (ROOT / "docs" / "cpu.md").exists(), "a page without results"
        return
    assert (ROOT / "docs" / "cpu.md").read_text(encoding="utf-8") == page.page(folder), "python -m bench.peers_cpu page"


def grown(name, batch, time):
    work = [work for work, _ in scaling.plan() if work.name == f"W2 batch {batch}"]
    return measured(name, time, workload=work[0])


def test_scaling_is_time_per_image_and_gain_of_a_thread(tmp_path):
    work = scaling.plan()[-1][0]
    pairs = [measured(f"gpunet, {n} thread{'s' * (n > 1)}", t, workload=work, threads=n) for n, t in ((1, 90), (2, 50))]
    both = content(grown("gpunet", 16, 8), grown("gpunet", 1024, 1024), grown("PyTorch", 16, 16), *pairs)
    by_batch, gains = scaling.medians(both)
    assert by_batch == {"gpunet": {16: 0.008, 1024: 1.024}, "PyTorch": {16: 0.016}}
    assert gains == pytest.approx({("W3", "gpunet"): 1.8})
    assert scaling.rows(both)[0][1] == ["16", "8 ms", "500 us", "16 ms", "1 ms"]
    assert scaling.rows(both)[1] == [["1 thread / 2 threads", "gpunet"], ["W3", "1.80"]]
    write_json(tmp_path / "cpu.json", content(measured("gpunet", 1)))
    write_json(tmp_path / "cpu_scaling.json", both)
    text = page.page(tmp_path)
    assert "gpunet: between 500 us and 1 ms per image." in text and "| W3 | 1.80 |" in text
    scaling.save_plot(both, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_plots_are_drawn_with_and_without_a_baseline(tmp_path):
    plot.save(
        content(measured("PyTorch", 3), measured("gpunet", 1), measured("gpunet", 2, workload=W2)), tmp_path / "a"
    )
    plot.save(content(measured("gpunet", 1)), tmp_path / "b")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in "ab")


def test_other_files_are_refused(tmp_path):
    write_json(tmp_path / "cpu.json", {"schema": 1, "benchmark": "conv"})
    with pytest.raises(FormatError, match="not a result file of"):
        page.page(tmp_path)


class Child:
    """A contestant that answers at once; b fails in its third round, c is slow, others disturb every second round."""

    log: list[str] = []

    def __init__(self, entry, workload, settings):
        self.name, self.facts, self.rounds = entry.name, {"losses": [1.0]}, 0

    def round(self, seconds, steps):
        self.rounds += 1
        Child.log.append(self.name)
        if self.name == "b" and self.rounds == 3:
            raise rounds.ChildFailed("MemoryError")
        time = 25.0 if self.name == "c" else 1.0
        return {"times": [time] * steps, "peak_rss": self.rounds, "metrics": None}, 0.2 * (self.rounds % 2)

    def close(self):
        Child.log.append(f"end {self.name}")


def test_rounds_rotate_and_who_is_slow_or_fails_sits_out(monkeypatch):
    monkeypatch.setattr(rounds, "Child", Child)
    monkeypatch.setattr(rounds, "idle", lambda settings: True)
    monkeypatch.setattr(Child, "log", [])
    left_out = {}
    settings = rounds.Settings(rounds=5, steps=2, budget=100)
    found = rounds.measure(W1, [entry("a"), entry("b"), entry("c")], settings, left_out)
    assert Child.log == [*"abc", *"bca", *"cab", *"a", *"a", "end c", "end b", "end a"]
    assert left_out == {"W1 b": "MemoryError"} and [m.entry.name for m in found] == ["a", "c"]
    assert [(m.rounds, m.contended, len(m.times), m.facts["peak_rss"]) for m in found] == [(5, 3, 10, 5), (3, 2, 6, 3)]


def test_a_machine_that_is_never_idle_marks_all_rounds(monkeypatch):
    monkeypatch.setattr(rounds, "Child", Child)
    monkeypatch.setattr(rounds.timing, "wait_until_idle", lambda *arguments, **options: False)
    (found,) = rounds.measure(W1, [entry("a")], rounds.Settings(rounds=4), {})
    assert (found.rounds, found.contended) == (4, 4)
    (found,) = rounds.measure(W1, [entry("a")], rounds.Settings(rounds=4, patience=0), {})
    assert (found.rounds, found.contended) == (4, 0)


def test_the_reason_of_a_failure_is_the_line_with_the_error():
    said = 'Traceback (most recent call last):\n  File "x"\nnumpy.AxisError: axis 3\nread the notes at\n  example.org\n'
    assert rounds.reason(said) == "numpy.AxisError: axis 3"
    assert rounds.reason("Killed\n") == "Killed" and rounds.reason("") == ""
