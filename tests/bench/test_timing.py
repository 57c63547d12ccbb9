"""How busy the machine is, and what a result file says."""

from __future__ import annotations

import json

import pytest

from bench import timing
from bench.timing import CpuSeconds


def test_elsewhere_is_what_others_used():
    before, after = CpuSeconds(busy=10, own=4, total=100), CpuSeconds(busy=13, own=5, total=108)
    assert timing.elsewhere(before, after) == 2 / 8
    assert timing.elsewhere(before, CpuSeconds(12, 6.01, 108)) == 0  # clocks differ by a tick
    assert timing.elsewhere(None, after) is None and timing.elsewhere(after, after) is None


def test_clocks_run_forward():
    before = timing.cpu_seconds()
    if before is None:
        pytest.skip("this system has no /proc/stat")
    sum(range(100_000))
    after = timing.cpu_seconds()
    assert after.own > before.own and after.total >= before.total and 0 < after.busy < after.total


class Machine:
    """A machine of one CPU of which others use a share per second, and this process nothing."""

    def __init__(self, *shares):
        self.shares, self.busy, self.seconds = list(shares), 0.0, 0

    def sleep(self, seconds):
        self.busy += self.shares[self.seconds]
        self.seconds += 1

    def read(self):
        return CpuSeconds(self.busy, 0.0, float(self.seconds))


@pytest.mark.parametrize(
    ("shares", "idle", "after"),
    [
        ((0, 0, 0), True, 3),
        ((1, 0, 0, 0.5, 0, 0.04, 0), True, 7),
        ((0, 0, 1, 0, 0, 1), False, 6),
    ],
)
def test_idle_means_three_quiet_seconds_in_a_row(shares, idle, after):
    machine = Machine(*shares)
    assert timing.wait_until_idle(len(shares), read=machine.read, sleep=machine.sleep) is idle
    assert machine.seconds == after


def test_one_quiet_look_can_be_enough():
    machine = Machine(1, 0.06, 0.04, 0)
    assert timing.wait_until_idle(2, every=0.5, times=1, read=machine.read, sleep=machine.sleep)
    assert machine.seconds == 3


def test_a_system_without_clocks_counts_as_idle():
    assert timing.wait_until_idle(5, read=lambda: None, sleep=lambda seconds: None)


def test_summary_of_known_times():
    result = timing.summarize("x", [float(i) for i in range(20, 0, -1)], op="add")
    assert (result.median, result.p10, result.p90, result.min, result.rounds) == (10.5, 3, 19, 1, 20)
    assert result.extra == {"op": "add"}
    with pytest.raises(ValueError, match="x: nothing was measured"):
        timing.summarize("x", [])


def test_a_result_file_says_when_where_and_what(tmp_path):
    path = tmp_path / "new" / "add.json"
    timing.save(path, "add", [timing.summarize("x", [2.0])])
    content = json.loads(path.read_text())
    assert list(content) == ["schema", "benchmark", "date", "commit", "machine", "versions", "results"]
    assert content["machine"]["cores"] >= 1 and "path" not in content["machine"]["blas"]
    assert content["results"][0]["median"] == 2.0
    where = {"date": "then", "commit": "c", "machine": {}, "versions": {}}
    assert timing.report("add", [], where)["date"] == "then"
