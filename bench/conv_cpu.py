"""How much of a CPU convolution's time by im2col is not matrix product, and how it compares with PyTorch.

Convolutions of many channels take minimal filtering (gpunet/ops/winograd.py), which is not measured here.

Each direction is timed beside its floor: the same block GEMMs on prefilled, reused block buffers, with the
same threads, interleaved in the same run.

    python -m bench.conv_cpu [--json bench/results/peers/conv_cpu.json] [--rounds 120]
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import timing
from bench.shapes import CIFAR_CONVS, MNIST_CONVS, Conv
from gpunet.backend import CHANNELS_LAST, blas
from gpunet.ops import conv, conv2d, conv_blocks, im2col
from gpunet.ops.conv_blocks import Target
from gpunet.ops.geometry import Geometry, channels_last_memory


def floor(geometry: Geometry, direction: str, dtype: Any = np.float32) -> Callable[[], None]:
    """Return the GEMMs of a direction alone: every thread multiplies block buffers filled once."""
    g, limits = geometry, (im2col._ROWS, im2col._LEAST_BYTES, im2col._MOST_BYTES)
    if direction == "weight":
        limits = im2col._ROWS_SUMMED, im2col._LEAST_BYTES_SUMMED, im2col._MOST_BYTES
    if direction == "input":
        g = replace(g, channels=g.outputs, outputs=g.channels, in_size=g.out_size, out_size=g.in_size)
    depth = g.taps * g.channels
    blocks = conv_blocks.cut(g, depth, np.dtype(dtype).itemsize, limits)
    sizes = [math.prod(block.pixels) for block in blocks]
    rng = np.random.default_rng(0)
    columns, rows, kernel = (
        rng.random(shape, dtype) for shape in ((max(sizes), depth), (max(sizes), g.outputs), (depth, g.outputs))
    )
    columns = columns.reshape(depth, -1).T if g.channels <= im2col._FEW_CHANNELS else columns
    buffers = threading.local()

    def work(task: int) -> None:
        if not hasattr(buffers, "mine"):
            buffers.mine = columns.copy("K"), rows.copy(), np.empty((g.outputs, depth), dtype)
        mine, count = buffers.mine, sizes[task]
        if direction == "weight":
            blas.single(mine[1][:count].T, mine[0][:count], mine[2])
        else:
            blas.single(mine[0][:count], kernel, mine[1][:count])

    return lambda: blas.parallel(len(blocks), work)


def contestants(shape: Conv) -> tuple[dict[str, Callable[[], object]], dict[str, Callable[[], object]]]:
    """Return our three directions with their floors, and PyTorch's in both layouts where it is installed."""
    n, c, o, size, window, padding = shape.n, shape.c, shape.o, shape.size, shape.window, shape.padding
    rng = np.random.default_rng(0)
    host = rng.standard_normal((n, size, size, c), np.float32)
    x, w = host.transpose(0, 3, 1, 2), rng.standard_normal((o, window, window, c), np.float32).transpose(0, 3, 1, 2)
    b = rng.standard_normal(o, np.float32)
    y = conv2d(x, w, b, padding=padding, layout=CHANNELS_LAST)
    geometry = conv._geometry(x.shape, w.shape, 1, (1, 1), (padding,) * 2, (1, 1))
    out, gx = channels_last_memory(y), np.empty_like(host)
    gw, gb, gy = (
        np.empty((o, 1, window, window, c), np.float32),
        np.empty(o, np.float32),
        channels_last_memory(y).copy(),
    )
    x5, w5 = channels_last_memory(x), channels_last_memory(w)
    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: im2col.forward(Target(out, b), x5, w5, geometry),
        "forward floor": floor(geometry, "forward"),
        "input": lambda: im2col.input_gradient(gx[:, None], gy, w5, geometry),
        "input floor": floor(geometry, "input"),
        "weight": lambda: im2col.weight_gradient(gw, gb, gy, x5, geometry),
        "weight floor": floor(geometry, "weight"),
    }
    try:
        import torch
    except ImportError:
        return calls, {}
    peers: dict[str, Callable[[], object]] = {}
    torch.set_num_threads(blas.threads())
    for layout in (torch.contiguous_format, torch.channels_last):
        tx, tw = (torch.tensor(np.ascontiguousarray(a)).to(memory_format=layout) for a in (x, w))
        tg = torch.tensor(np.ascontiguousarray(y)).to(memory_format=layout)
        tb, name = torch.tensor(b), str(layout).rpartition(".")[2]
        backward = functools.partial(
            torch.ops.aten.convolution_backward, tg, tx, tw, [o], [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1
        )
        peers[f"forward torch {name}"] = functools.partial(torch.conv2d, tx, tw, tb, padding=padding)
        peers[f"input torch {name}"] = functools.partial(backward, [True, False, False])
        peers[f"weight torch {name}"] = functools.partial(backward, [False, True, True])
    return calls, peers


def _times(result: timing.Result) -> str:
    return f"{result.median * 1e3:8.2f} ({result.p10 * 1e3:5.2f})"


def _ratio(ours: timing.Result, other: timing.Result) -> str:
    return f"{ours.median / other.median:7.2f} ({ours.p10 / other.p10:4.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write a result file")
    parser.add_argument("--rounds", type=int, default=120)
    options = parser.parse_args()
    kept = []
    print(
        f"load {os.getloadavg()[0]:.2f}, {blas.threads()} threads, {blas.describe()['kernels']} kernels; medians, (p10)"
    )
    print(f"{'shape':26}{'direction':10}{'ms':>16}{'floor':>16}{'ratio':>14}{'torch':>16}{'ratio':>14}")
    for shape in MNIST_CONVS + CIFAR_CONVS:
        name = str(shape)
        ours_and_floors, peers = contestants(shape)
        measured = timing.interleave(ours_and_floors, rounds=options.rounds, seconds=30)
        # Apart, because PyTorch's threads spin for a while after each call and would disturb who comes next.
        measured |= timing.interleave(peers, rounds=options.rounds, seconds=30)
        for direction in ("forward", "input", "weight"):
            if shape.c == 1 and direction == "input":
                continue  # nobody asks for the gradient of the images
            ours, least = measured[direction], measured[f"{direction} floor"]
            text = f"{name:26}{direction:10}{_times(ours)}{_times(least)}{_ratio(ours, least)}"
            theirs = [result for key, result in measured.items() if key.startswith(f"{direction} torch")]
            if theirs:
                best = min(theirs, key=lambda result: result.median)
                text += _times(best) + _ratio(ours, best)
            print(text, flush=True)
        kept += [timing.replace_name(result, f"{name} {key}") for key, result in measured.items()]
    if options.json:
        timing.save(options.json, "conv_cpu", kept)


if __name__ == "__main__":
    main()
