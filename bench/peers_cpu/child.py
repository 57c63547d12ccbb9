"""The process of one contestant and one workload: starts cold, then runs the rounds that its parent asks for.

The task comes as the first argument, in JSON. Afterwards each line on stdin is an order and each line on stdout its
answer; what libraries print goes to stderr. Nothing is imported before the contestant, so that its import time and its
memory are its own (with NumPy, which all of them need here).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from typing import Any

FIRST_STEPS = 4  # whose losses are compared


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    task = json.loads(sys.argv[1])
    start = time.perf_counter()
    module = importlib.import_module(f"bench.peers_cpu.contestants.{task['module']}")
    imported = time.perf_counter() - start
    runner, facts = _begin(module, task)
    print(json.dumps({"import_s": imported, **facts, "cpu_s": _cpu_seconds()}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_round(runner, **json.loads(line))), file=answers)


def _begin(module: Any, task: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Build the contestant and take its first steps."""
    from bench.peers_cpu import workloads

    workload = workloads.Workload(**task["workload"])
    weights, settings = workloads.first_weights(workload.network), (task["threads"], task["variant"])
    start = time.perf_counter()
    if workload.epoch:
        runner = contestant = module.make_epochs(workload, weights, *settings, task["data"])
    else:
        contestant = module.make(workload, weights, *settings)
    built = time.perf_counter() - start
    if not workload.epoch:
        runner = workloads.Ring(workload, contestant)
    del weights
    start = time.perf_counter()
    first = runner.first()
    cold = time.perf_counter() - start
    losses = [workloads.loss(result) for result in (first, *(runner.first() for _ in range(FIRST_STEPS - 1)))]
    return runner, {"build_s": built, "cold_s": cold, "losses": losses, "kernels": contestant.kernels()}


def _round(runner: Any, seconds: float, steps: int) -> dict[str, Any]:
    """Time steps for some seconds, but `steps` of them at least, after what wakes threads and caches."""
    runner.wake()
    times: list[float] = []
    while len(times) < steps or sum(times) < seconds:
        start = time.perf_counter()
        result = runner.step()
        times.append(time.perf_counter() - start)
    metrics = result if isinstance(result, dict) else None
    return {"times": times, "metrics": metrics, "cpu_s": _cpu_seconds(), "peak_rss": _peak_rss()}


def _cpu_seconds() -> float:
    """Return the CPU time of this process so far, with that of its ended children."""
    return sum(os.times()[:4])


def _peak_rss() -> int:
    """Return the most memory that this process has held, in bytes.

    Linux's ru_maxrss can be the parent's; VmHWM cannot.
    """
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
