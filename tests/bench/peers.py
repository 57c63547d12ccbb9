"""Measurements made by hand, for the tests of bench.peers_cpu."""

from __future__ import annotations

from bench import timing
from bench.peers_cpu import results, rounds, workloads
from bench.peers_cpu.contestants import Entry

W1, W2 = workloads.WORKLOADS[:2]
W5 = workloads.WORKLOADS[-1]


def entry(name, **changes):
    """Return a contestant whose package is installed."""
    return Entry(name, **{"module": name, "package": "numpy", "pip": name, **changes})


def measured(name, *milliseconds, workload=W1, losses=(2.0, 1.5), rss=100, start=0.35, threads=0, **changes):
    """Return what a contestant's process might have told."""
    facts = {"import_s": start - 0.15, "build_s": 0.1, "cold_s": 0.05, "losses": list(losses), "kernels": "AVX2"}
    facts |= {"peak_rss": rss * 1_000_000, **changes}
    times = [time / 1e3 for time in milliseconds]
    return rounds.Measured(entry(name, threads=threads), workload, facts, times, rounds=4, contended=1)


def content(*group, **changes):
    """Return a result file's content."""
    machine = {"cpu": "a CPU", "load": 0.1}
    where = {"date": "2026-01-02T03:04:05", "commit": "c0ffee", "machine": machine, "versions": {"numpy": "2.4"}}
    head = {"threads": 2, "leg": "native", "smoke": False, "left_out": {}, **changes}
    return {**timing.report("peers_cpu", results.results(group, threads=2), where), **head}
