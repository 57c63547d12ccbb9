"""docs/cpu.md, made of the result files: it says nothing that is not in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peers_cpu import results, scaling, table
from bench.peers_cpu.legs import FILES
from bench.peers_cpu.results import duration

SCALING = "cpu_scaling"  # the file of `python -m bench.peers_cpu scaling`

HEAD = """\
# On the CPU, beside its peers

Made by `python -m bench.peers_cpu --page` from the files in `bench/results/peers/`; do not edit.

Ratios are medians over PyTorch's (eager) in the same run on the CPU that is named beside them: below 1 is faster.
"""

HOW = """\
## How it was measured

- float32. All contestants start from the same weights and get the same batches, eight in a ring. The losses of their
  first four steps agree with PyTorch's within 0.1 %, else a contestant is left out; of an inference, the cross entropy
  of its logits counts.
- A step of training is zero_grad, forward, loss, backward, optimizer, and reading the loss, which waits for all of it.
- Each contestant runs in a process of its own. In a round each takes steps for half a second, two at least, after one
  that is not timed; the order rotates from round to round. Median and p10 are over the steps of all rounds.
- Before a round, all other processes must leave 95 % of the CPUs idle; "clean" counts the rounds before and during
  which they did.
- Import (with NumPy), build (network, weights, optimizer), cold step and peak memory are those of the process whose
  only job is that workload. Compilers start without their caches.
- Each library in the form that its users would choose: gpunet and PyTorch run the same script; JAX jits the whole step,
  with images channels-last; tinygrad runs it under TinyJit with clang; DeZero is NumPy.
- W5 is whole epochs over the 60,000 images of MNIST, shuffled, each image moved by up to 2 pixels, with the loss and
  the accuracy read after every step. PyTorch's loader takes image by image from a Dataset whose transforms are torch
  functions, in its own process and, as another contestant, in two workers; the faster of both is what ratios refer to.
  "whole batches" hands PyTorch each batch in a few operations, as gpunet's loader does: faster, and not what is usual.
- The second leg limits all libraries to AVX2 (`OPENBLAS_CORETYPE=Haswell`, `ONEDNN_MAX_CPU_ISA=AVX2`,
  `ATEN_CPU_CAPABILITY=avx2`, `MKL_ENABLE_INSTRUCTIONS=AVX2`, NumPy's and XLA's switches) on the same CPU.

Measure again: `python -m bench.peers_cpu --page --data FOLDER_WITH_MNIST`, then the same with `--leg avx2`, then
`python -m bench.peers_cpu scaling --page`.
"""


def page(folder: Path) -> str:
    """Return the page from the result files that are in a folder.

    Raises:
        FormatError: a file is none of ours.
        OSError: there is none, or it cannot be read.
    """
    legs = [table.load(path) for name in FILES.values() if (path := folder / f"{name}.json").exists()]
    if not legs:
        raise FileNotFoundError(f"{folder} has no {' or '.join(f'{name}.json' for name in FILES.values())}")
    parts = [HEAD, *map(_leg, legs)]
    if (folder / f"{SCALING}.json").exists():
        parts.append(_scaling(table.load(folder / f"{SCALING}.json")))
    return "\n".join([*parts, HOW])


def _leg(content: dict[str, Any]) -> str:
    """Return the part of one leg."""
    cpu, found = content["machine"]["cpu"], table.read(content)
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines = [f"## {table.label(content)}", "", f"{content['date'][:10]}, commit {content['commit']}; {versions}.", ""]
    lines += [f"![times of steps](../bench/results/peers/{FILES[content['leg']]}.png)", ""]
    heads = [f"/ PyTorch on {cpu}" if head == "/ PyTorch" else head for head in table.COLUMNS]
    for group in table.workloads(found).values():
        extra = group[0].extra
        losses = ", ".join(f"{loss:.4g}" for loss in extra["losses"])
        lines += [f"### {extra['workload']}: {extra['title']}", "", f"First losses {losses}.", ""]
        lines += [*_markdown([heads, *map(table.cells, group)]), ""]
        lines += [line for result in group if (line := _epochs(result.extra))]
    losing = results.losing(found) or ["Nowhere, in this run."]
    lines += [f"### Where gpunet loses on {cpu}", "", *(f"- {line}" for line in losing), ""]
    kernels = {result.extra["contestant"]: result.extra["kernels"] for result in found}
    lines += ["Kernels: " + "; ".join(f"{name}: {what}" for name, what in kernels.items()) + ".", ""]
    if content["left_out"]:
        lines += ["Left out: " + "; ".join(f"{name}: {why}" for name, why in content["left_out"].items()) + ".", ""]
    return "\n".join(lines)


def _epochs(extra: dict[str, Any]) -> str:
    """Say what epochs reached."""
    if "epochs" not in extra:
        return ""
    reached = ", ".join(f"{epoch['loss']:.3f} ({epoch['accuracy']:.1%})" for epoch in extra["epochs"])
    return f"{extra['contestant']}: mean loss (accuracy) of its epochs {reached}.\n"


def _scaling(content: dict[str, Any]) -> str:
    """Return the part on batches and threads."""
    grown, threads = map(_markdown, scaling.rows(content))
    by_batch, _ = scaling.medians(content)
    spread = []
    for name, times in by_batch.items():
        each = [seconds / batch for batch, seconds in times.items()]
        spread.append(f"{name}: between {duration(min(each))} and {duration(max(each))} per image.")
    lines = [
        f"## Batches and threads on {table.label(content)}",
        "",
        f"![scaling](../bench/results/peers/{SCALING}.png)",
    ]
    return "\n".join([*lines, "", "W2 by batch:", "", *grown, "", *spread, "", "At batch 64:", "", *threads, ""])


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows, the heads first, as a table of Markdown."""
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
