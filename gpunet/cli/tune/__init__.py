"""`gpunet tune`: times the kernels that can make a product, and writes the user's table of choices."""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gpunet
from gpunet import backend, io
from gpunet.backend.kernel_backend import KernelBackend
from gpunet.cli.tune.layers import DTYPES, MODELS, Layer, Product, read_conv, read_linear
from gpunet.cli.tune.rows import conditions, merged
from gpunet.cli.tune.timing import LEAST_GAIN, Lane, Verdict, candidates, clock_of, decide, race
from gpunet.errors import DeviceError, FormatError, layout_message
from gpunet.ops import choices
from gpunet.ops.choices_table import SPLIT, TILED, Row, make_row, read, to_text

__all__ = ["add_parser"]

_EPILOG = f"""\
examples:
  gpunet tune                                       the layers of networks for MNIST, on the first GPU
  gpunet tune --model resnet50 --dtype half,tf32    typical layers of another network
  gpunet tune --linear batch=64,in=784,out=512 --conv batch=64,in=32,out=64,size=26,kernel=3,padding=1
  gpunet tune --quick --dry-run                     fewer candidates and rounds; show the table, write nothing
  gpunet tune --device emulated --out my.toml       the whole path without a GPU; its times mean nothing

Each layer has three products: forward, and the gradients of its input and of its weight. For each of them, every kernel
that can make it is launched in its tiles and splits, is compared with the plain kernel to the last bit, and is timed by
CUDA events, all in turn, round by round. The shipped choice stays unless another is faster by more than the noise:
{LEAST_GAIN:.0%}, or as far as the middle half of the rounds lie apart, whichever is more.

What is faster becomes a row of your table, for the layer's sizes and batches up to the next power of two. Rows of other
products stay as they were. The table is $GPUNET_CHOICES, else gpunet/choices/<gpu>.toml in $XDG_CONFIG_HOME or
~/.config. Programs started later go by it, and other kernels may sum in another order: results may differ in their last
bits, and checkpoints tell. Delete the file to go back to the shipped choices, which gpunet/ops/choices.toml explains.

A convolution has batch, in, out, size and kernel (28, or 28x32), and may have stride, padding, dilation and groups.

exit codes: 0 done, 1 an error (no GPU, a table that cannot be read or written) or a kernel with a wrong result
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "tune",
        help="time kernels on this GPU, and choose by that from now on",
        description="Time the kernels, tiles and splits that can make a product, and write your table of choices.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=MODELS, help="typical layers (default: mnist, or toy on the emulator)")
    parser.add_argument(
        "--linear",
        type=read_linear,
        action="append",
        default=[],
        metavar="batch=..,in=..,out=..",
        help="a linear layer",
    )
    parser.add_argument(
        "--conv",
        type=read_conv,
        action="append",
        default=[],
        metavar="batch=..,in=..,out=..,size=..,kernel=..",
        help="a convolution; both may be given again",
    )
    parser.add_argument("--dtype", type=_dtypes, default=["tf32"], help=f"of {', '.join(DTYPES)} (default: tf32)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, emulated (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 15, fewer splits")
    parser.add_argument("--out", type=Path, help="the table to write (default: yours, see below)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def _dtypes(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in DTYPES]:
        raise argparse.ArgumentTypeError(f"there is no dtype {unknown[0]!r}; expected {', '.join(DTYPES)}")
    return names


def run(options: argparse.Namespace) -> int:
    """Time all products; write the table at the end, or nothing."""
    be = backend.get(backend.device(options.device))
    if not isinstance(be, KernelBackend):
        raise DeviceError(layout_message("tune", f"{be.device} runs no kernels.", expected="cuda or emulated"))
    path = _target(be, options)
    before = read(path, missing_ok=True) if path else {}
    if be.name == "emulated":
        print("on the emulator, times mean nothing: they are the CPU's")
    tuned, faults = [], 0
    for product, lanes in _races(be, _layers(be, options), options):
        verdict = decide(lanes)
        print("\n".join(_table(product, lanes, verdict)), flush=True)
        faults += sum(lane.fault.startswith("WRONG") for lane in lanes)
        tuned.append((product.problem.op, conditions(product), _row(product, lanes, verdict)))
    after = merged(tuned, before)
    text = _header(be) + to_text(after) + "\n"
    if after == before:
        print("the choices stay as they were: there is nothing to write")
    elif options.dry_run:
        print(f"would be written{f' to {path}' if path else ''}:\n\n{text}", end="")
    elif path is None:
        print("nothing is written without --out")
    else:
        io.write_text_atomic(path, text)
        print(f"written: {path}")
    if faults:
        print(f"gpunet: wrong results on {be.gpu}: {faults}; none of these kernels is chosen", file=sys.stderr)
    return 1 if faults else 0


def _target(be: KernelBackend, options: argparse.Namespace) -> Path | None:
    """Return the table to write, in a folder that is there; None where none is to be written."""
    if options.out or be.name == "emulated":
        path: Path | None = options.out
    elif os.environ.get("GPUNET_CHOICES") == "" or (path := choices.user_path(be.gpu)) is None:
        raise FormatError("tune: there is no table of yours: GPUNET_CHOICES is empty, or no home\n  hint: give --out")
    elif not options.dry_run and "GPUNET_CHOICES" not in os.environ:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path and not options.dry_run and not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for {path.name}")
    return path


def _layers(be: KernelBackend, options: argparse.Namespace) -> list[Layer]:
    own = [*options.linear, *options.conv]
    model = options.model or (None if own else "toy" if be.name == "emulated" else "mnist")
    return [*(MODELS[model] if model else ()), *own]


def _races(
    be: KernelBackend, layers: Sequence[Layer], options: argparse.Namespace
) -> Iterator[tuple[Product, list[Lane]]]:
    """Race the candidates for each product, with a progress bar on a terminal; products of one row race once."""
    from tqdm import tqdm

    clock, rounds = clock_of(be), 5 if options.quick else 15
    done: list[tuple[str, Any]] = []
    jobs = list(enumerate(itertools.product(layers, options.dtype)))
    bar_format = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=3 * len(jobs), bar_format=bar_format, disable=options.quiet or None, leave=False) as bar:
        for job, (layer, dtype) in jobs:
            for number, product in enumerate(layer.products(be, dtype), start=3 * job):
                row = product.problem.op, conditions(product)
                if row in done:
                    continue
                done.append(row)
                lanes = [Lane(choice) for choice in candidates(product.problem, options.quick)]
                bar.set_description_str(f"{layer.text} {dtype} {product.problem.op}")
                steps = len(lanes) + rounds
                for step, _ in enumerate(race(be, product, lanes, clock, rounds), start=1):
                    bar.n = number + step / steps
                    bar.refresh()
                bar.clear()
                yield product, lanes


def _row(product: Product, lanes: Sequence[Lane], verdict: Verdict) -> Row | None:
    """Return the row for what was chosen, or None for the shipped choice."""
    chosen = verdict.lane
    if chosen is None or chosen is lanes[0]:
        return None
    choice: dict[str, Any] = {"kernel": chosen.choice.kernel}
    if chosen.choice.kernel in TILED:
        choice["tile"] = str(chosen.choice.tile)
        if product.problem.op in SPLIT:
            choice["blocks"] = chosen.choice.blocks
    note = f"{chosen.median * 1e6:.1f} us" + (f", was {lanes[0].median * 1e6:.1f}" if lanes[0].seconds else "")
    return make_row(product.problem.op, {**conditions(product), **choice}, note)


def _header(be: KernelBackend) -> str:
    by = f"gpunet {gpunet.__version__} on {datetime.date.today()}"
    warning = "# Measured on the emulator: these times mean nothing.\n" if be.name == "emulated" else ""
    return (
        f"# Choices of kernels for {be.gpu}, by gpunet tune of {by}.\n{warning}"
        "# They go before the shipped ones; gpunet/ops/choices.toml explains them. Delete this file to go back.\n\n"
    )


def _table(product: Product, lanes: Sequence[Lane], verdict: Verdict) -> Iterator[str]:
    """Yield a line on a product, then one per candidate, fastest first."""
    p = product.problem
    yield f"\n{p.op} {p.order}".rstrip() + f" {p.rows} x {p.columns}, depth {p.depth}, {p.dtype}: {product.layer}"
    yield f"  {'kernel':<11}{'tile':<14}{'blocks':>6}{'time':>14}{'of best':>9}"
    fair = sorted((lane for lane in lanes if not lane.fault), key=lambda lane: lane.median)
    for lane in (*fair, *(lane for lane in lanes if lane.fault)):
        tiled = lane.choice.kernel in TILED
        tile, blocks = (str(lane.choice.tile), str(lane.choice.blocks)) if tiled else ("", "")
        figures = f"{lane.median * 1e6:>11.1f} us{fair[0].median / lane.median:>9.0%}" if not lane.fault else ""
        notes = [lane.fault, "shipped" * (lane is lanes[0]), _reason(lanes, verdict) * (lane is verdict.lane)]
        yield f"  {lane.choice.kernel:<11}{tile:<14}{blocks:>6}{figures}  {', '.join(filter(None, notes))}".rstrip()


def _reason(lanes: Sequence[Lane], verdict: Verdict) -> str:
    """Say why the chosen candidate is."""
    faster = f"{1 + verdict.gain:.2f} x as fast"
    if verdict.lane is lanes[0]:
        return "stays" if verdict.gain <= 0 else f"stays: {faster} is within the noise, {verdict.noise:.2f}"
    return "chosen" if lanes[0].fault else f"chosen: {faster}, noise {verdict.noise:.2f}"
